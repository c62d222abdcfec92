#include "query/select_smallest.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "index/kernels/head_kernels.h"

namespace tessera::query {
namespace {

// Steps of bisection: after that what is left are equal keys, nearly.
constexpr int kStepsMax = 24;
// select_up_to may write this much beyond its result.
constexpr size_t kSelectSlack = 16;

struct Range {
  float low;
  float high;
};

// Of the finite keys.
Range RangeOf(std::span<const float> keys) {
  Range range{std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest()};
  for (const float key : keys) {
    if (!std::isfinite(key)) continue;
    range.low = std::min(range.low, key);
    range.high = std::max(range.high, key);
  }
  return range;
}

}  // namespace

void SelectSmallest(std::span<const float> keys, size_t count, size_t slack,
                    std::vector<uint32_t>* positions) {
  const index::HeadKernels& kernels = index::ActiveHeadKernels();
  positions->resize(keys.size() + kSelectSlack);
  const auto select = [&](float limit) {
    return kernels.select_up_to(keys.data(), keys.size(), limit, positions->data());
  };
  // `high` lets enough keys through, `low` too few.
  auto [low, high] = RangeOf(keys);
  if (keys.size() <= count || kernels.count_up_to(keys.data(), keys.size(), high) < count) {
    high = std::numeric_limits<float>::infinity();
    low = high;
  }
  for (int step = 0; step < kStepsMax && low < high; ++step) {
    const float middle = 0.5F * low + 0.5F * high;
    const size_t below = kernels.count_up_to(keys.data(), keys.size(), middle);
    (below < count ? low : high) = middle;
    if (below >= count && below <= count + slack) break;
  }
  const size_t selected = select(high);
  positions->resize(selected);
  if (selected <= count + slack) return;
  // Many keys equal the largest wanted, nearly.
  std::nth_element(positions->begin(), positions->begin() + static_cast<ptrdiff_t>(count),
                   positions->end(), [&](uint32_t a, uint32_t b) { return keys[a] < keys[b]; });
  positions->resize(count);
  std::sort(positions->begin(), positions->end());
}

}  // namespace tessera::query
