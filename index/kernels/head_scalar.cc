#include <limits>

#include "index/kernels/head_kernels.h"

namespace tessera::index {
namespace {

uint32_t ArgMaxDifference(const float* a, const float* b, size_t n, float* best) {
  uint32_t winner = 0;
  float top = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < n; ++i) {
    const float difference = a[i] - b[i];
    if (difference > top) {
      top = difference;
      winner = static_cast<uint32_t>(i);
    }
  }
  *best = top;
  return winner;
}

}  // namespace

const HeadKernels kHeadKernelsScalar{
    .level = base::CpuLevel::kScalar,
    .arg_max_difference = ArgMaxDifference,
};

}  // namespace tessera::index
