#include "index/kernels/head_kernels.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "index/kernels/pick.h"

namespace tessera::index {

const HeadKernels& HeadKernelsFor(base::CpuLevel level) {
  return PickKernels(level, kHeadKernelsScalar, kHeadKernelsAvx2, kHeadKernelsAvx512);
}

const HeadKernels& ActiveHeadKernels() {
  static const HeadKernels& active = HeadKernelsFor(base::ActiveCpuLevel());
  return active;
}

void RankBySorting(const float* keys, size_t n, uint32_t* ranks) {
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [keys](uint32_t a, uint32_t b) {
    return keys[a] < keys[b] || (keys[a] == keys[b] && a < b);
  });
  for (size_t i = 0; i < n; ++i) ranks[order[i]] = static_cast<uint32_t>(i);
}

}  // namespace tessera::index
