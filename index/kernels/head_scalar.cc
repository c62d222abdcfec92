#include <algorithm>
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

void ScoreBlocks(const HeadBlocks& heads, const HeadQuery& query, float* keys) {
  for (size_t block = 0; block < heads.blocks; ++block) {
    int32_t sums[kHeadBlock] = {};
    const uint8_t* codes = heads.codes + block * heads.quads * kHeadBlock * 4;
    for (size_t quad = 0; quad < heads.quads; ++quad) {
      for (size_t head = 0; head < kHeadBlock; ++head) {
        for (size_t i = 0; i < 4; ++i) {
          sums[head] += int32_t{codes[(quad * kHeadBlock + head) * 4 + i]} *
                        int32_t{query.codes[quad * 4 + i]};
        }
      }
    }
    for (size_t head = 0; head < kHeadBlock; ++head) {
      const size_t h = block * kHeadBlock + head;
      keys[h] = query.bias_scale * heads.biases[h] -
                query.scale * heads.scales[h] * static_cast<float>(sums[head] - query.offset);
    }
  }
}

void Range(const float* keys, size_t n, float* low, float* high) {
  const auto [smallest, largest] = std::minmax_element(keys, keys + n);
  *low = *smallest;
  *high = *largest;
}

size_t CountUpTo(const float* keys, size_t n, float limit) {
  size_t count = 0;
  for (size_t i = 0; i < n; ++i) count += keys[i] <= limit ? 1 : 0;
  return count;
}

size_t SelectUpTo(const float* keys, size_t n, float limit, uint32_t* out) {
  size_t count = 0;
  for (size_t i = 0; i < n; ++i) {
    out[count] = static_cast<uint32_t>(i);
    count += keys[i] <= limit ? 1 : 0;
  }
  return count;
}

}  // namespace

const HeadKernels kHeadKernelsScalar{
    .level = base::CpuLevel::kScalar,
    .arg_max_difference = ArgMaxDifference,
    .score_blocks = ScoreBlocks,
    .range = Range,
    .count_up_to = CountUpTo,
    .select_up_to = SelectUpTo,
    .rank = RankBySorting,
};

}  // namespace tessera::index
