#include "index/codecs/grid_code.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace tessera::index {
namespace {

constexpr int kSteps = 12;
// The coarsest step reaches a little past the largest component, the finest clips at this many
// times the root mean square.
constexpr float kReachMost = 1.1F;
constexpr float kReachLeast = 2.0F;
// Components whose squares are summed in f32 without loss.
constexpr float kLargestLeast = 1e-15F;
constexpr float kLargestMost = 1e15F;

}  // namespace

// NOLINTNEXTLINE(readability-function-size): hot, on plain arguments
double QuantiseOnGrid(const CodecKernels& kernels, const float* v, size_t dim, const Extent& extent,
                      uint32_t bits, uint8_t* codes) {
  if (!(extent.largest > 0)) {
    std::fill_n(codes, dim, uint8_t{0});
    return 0;
  }
  if (extent.largest < kLargestLeast || extent.largest > kLargestMost) {
    std::vector<float> scaled(dim);
    const double unit = extent.largest;
    for (size_t i = 0; i < dim; ++i) scaled[i] = static_cast<float>(v[i] / unit);
    return unit * QuantiseOnGrid(kernels, scaled.data(), dim, kernels.extent(scaled.data(), dim),
                                 bits, codes);
  }
  const auto half_levels = static_cast<float>(uint32_t{1} << (bits - 1));
  const float most = half_levels - 0.5F;
  const float root = std::sqrt(extent.norm2 / static_cast<float>(dim));
  float scale = half_levels / (kReachMost * extent.largest);
  const float last = half_levels / std::min(extent.largest, kReachLeast * root);
  const float ratio = std::pow(last / scale, 1.0F / (kSteps - 1));
  float best_scale = scale;
  GridSums best;
  for (int step = 0; step < kSteps; ++step, scale *= ratio) {
    const GridSums sums = kernels.grid_sums(v, dim, scale, most);
    // <y, v> is never negative: y has the sign of v.
    if (sums.dot * sums.dot * best.norm2 >= best.dot * best.dot * sums.norm2) {
      best = sums;
      best_scale = scale;
    }
  }
  kernels.grid_codes(v, dim, best_scale, most, codes);
  return best.dot;
}

}  // namespace tessera::index
