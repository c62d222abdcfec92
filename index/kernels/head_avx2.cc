#include <algorithm>
#include <limits>

#include <immintrin.h>

#include "index/kernels/head_kernels.h"

TESSERA_TARGET_BEGIN(TESSERA_AVX2_FEATURES)
namespace tessera::index {
namespace {

uint32_t ArgMaxDifference(const float* a, const float* b, size_t n, float* best) {
  const float lowest = -std::numeric_limits<float>::infinity();
  __m256 top = _mm256_set1_ps(lowest);
  __m256i where = _mm256_setzero_si256();
  __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256 difference = _mm256_sub_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
    const __m256 larger = _mm256_cmp_ps(difference, top, _CMP_GT_OQ);
    top = _mm256_blendv_ps(top, difference, larger);
    where = _mm256_castps_si256(
        _mm256_blendv_ps(_mm256_castsi256_ps(where), _mm256_castsi256_ps(index), larger));
    index = _mm256_add_epi32(index, _mm256_set1_epi32(8));
  }
  alignas(32) float tops[8];
  alignas(32) uint32_t wheres[8];
  _mm256_store_ps(tops, top);
  _mm256_store_si256(reinterpret_cast<__m256i*>(wheres), where);
  float winner_value = lowest;
  uint32_t winner = 0;
  for (size_t lane = 0; lane < 8; ++lane) {
    if (tops[lane] > winner_value || (tops[lane] == winner_value && wheres[lane] < winner)) {
      winner_value = tops[lane];
      winner = wheres[lane];
    }
  }
  for (; i < n; ++i) {
    const float difference = a[i] - b[i];
    if (difference > winner_value) {
      winner_value = difference;
      winner = static_cast<uint32_t>(i);
    }
  }
  *best = winner_value;
  return winner;
}

// Sums of 8 heads: unsigned bytes times signed bytes, widened to 16 bits because the products of
// two pairs overflow the saturating byte instruction.
__m256i AddQuad(__m256i sum, const uint8_t* codes, __m256i even, __m256i odd) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes));
  const __m256i low = _mm256_and_si256(bytes, _mm256_set1_epi16(0x00FF));
  const __m256i high = _mm256_srli_epi16(bytes, 8);
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(low, even));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(high, odd));
}

// Two 16-bit values side by side.
__m256i Pair(int8_t first, int8_t second) {
  const uint32_t low = static_cast<uint16_t>(static_cast<int16_t>(first));
  const uint32_t high = static_cast<uint16_t>(static_cast<int16_t>(second));
  return _mm256_set1_epi32(static_cast<int32_t>(high << 16 | low));
}

void StoreKeys(const HeadBlocks& heads, const HeadQuery& query, size_t h, __m256i sum,
               float* keys) {
  const __m256 products =
      _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, _mm256_set1_epi32(query.offset)));
  const __m256 scales =
      _mm256_mul_ps(_mm256_set1_ps(query.scale), _mm256_loadu_ps(heads.scales + h));
  const __m256 biases =
      _mm256_mul_ps(_mm256_set1_ps(query.bias_scale), _mm256_loadu_ps(heads.biases + h));
  _mm256_storeu_ps(keys + h, _mm256_fnmadd_ps(scales, products, biases));
}

void ScoreBlocks(const HeadBlocks& heads, const HeadQuery& query, float* keys) {
  const size_t block_bytes = heads.quads * kHeadBlock * 4;
  size_t block = 0;
  for (; block < heads.blocks; ++block) {
    const uint8_t* codes = heads.codes + block * block_bytes;
    __m256i sum0 = _mm256_setzero_si256();
    __m256i sum1 = _mm256_setzero_si256();
    for (size_t quad = 0; quad < heads.quads; ++quad) {
      const int8_t* q = query.codes + quad * 4;
      const __m256i even = Pair(q[0], q[2]);
      const __m256i odd = Pair(q[1], q[3]);
      sum0 = AddQuad(sum0, codes + quad * kHeadBlock * 4, even, odd);
      sum1 = AddQuad(sum1, codes + quad * kHeadBlock * 4 + 32, even, odd);
    }
    StoreKeys(heads, query, block * kHeadBlock, sum0, keys);
    StoreKeys(heads, query, block * kHeadBlock + 8, sum1, keys);
  }
}

void Range(const float* keys, size_t n, float* low, float* high) {
  __m256 lows = _mm256_set1_ps(keys[0]);
  __m256 highs = lows;
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256 key = _mm256_loadu_ps(keys + i);
    lows = _mm256_min_ps(lows, key);
    highs = _mm256_max_ps(highs, key);
  }
  alignas(32) float lanes[16];
  _mm256_store_ps(lanes, lows);
  _mm256_store_ps(lanes + 8, highs);
  *low = *std::min_element(lanes, lanes + 8);
  *high = *std::max_element(lanes + 8, lanes + 16);
  for (; i < n; ++i) {
    *low = std::min(*low, keys[i]);
    *high = std::max(*high, keys[i]);
  }
}

size_t CountUpTo(const float* keys, size_t n, float limit) {
  const __m256 limits = _mm256_set1_ps(limit);
  size_t count = 0;
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256 within = _mm256_cmp_ps(_mm256_loadu_ps(keys + i), limits, _CMP_LE_OQ);
    count +=
        static_cast<size_t>(__builtin_popcount(static_cast<unsigned>(_mm256_movemask_ps(within))));
  }
  for (; i < n; ++i) count += keys[i] <= limit ? 1 : 0;
  return count;
}

size_t SelectUpTo(const float* keys, size_t n, float limit, uint32_t* out) {
  const __m256 limits = _mm256_set1_ps(limit);
  size_t count = 0;
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256 within = _mm256_cmp_ps(_mm256_loadu_ps(keys + i), limits, _CMP_LE_OQ);
    unsigned mask = static_cast<unsigned>(_mm256_movemask_ps(within));
    for (; mask != 0; mask &= mask - 1) {
      out[count++] = static_cast<uint32_t>(i) + static_cast<uint32_t>(__builtin_ctz(mask));
    }
  }
  for (; i < n; ++i) {
    out[count] = static_cast<uint32_t>(i);
    count += keys[i] <= limit ? 1 : 0;
  }
  return count;
}

void Rank(const float* keys, size_t n, uint32_t* ranks) {
  if (n > kRankQuadraticMax) {
    RankBySorting(keys, n, ranks);
    return;
  }
  // Each comparison that holds subtracts -1 from a lane.
  for (size_t i = 0; i < n; ++i) {
    const __m256 key = _mm256_set1_ps(keys[i]);
    __m256i smaller = _mm256_setzero_si256();
    uint32_t rank = 0;
    size_t j = 0;
    for (; j + 8 <= i; j += 8) {
      const __m256 before = _mm256_cmp_ps(_mm256_loadu_ps(keys + j), key, _CMP_LE_OQ);
      smaller = _mm256_sub_epi32(smaller, _mm256_castps_si256(before));
    }
    for (; j < i; ++j) rank += keys[j] <= keys[i] ? 1 : 0;
    for (; j + 8 <= n; j += 8) {
      const __m256 after = _mm256_cmp_ps(_mm256_loadu_ps(keys + j), key, _CMP_LT_OQ);
      smaller = _mm256_sub_epi32(smaller, _mm256_castps_si256(after));
    }
    for (; j < n; ++j) rank += keys[j] < keys[i] ? 1 : 0;
    alignas(32) uint32_t lanes[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), smaller);
    for (const uint32_t lane : lanes) rank += lane;
    ranks[i] = rank;
  }
}

}  // namespace
}  // namespace tessera::index
TESSERA_TARGET_END

namespace tessera::index {

const HeadKernels kHeadKernelsAvx2{
    .level = base::CpuLevel::kAvx2,
    .arg_max_difference = ArgMaxDifference,
    .score_blocks = ScoreBlocks,
    .range = Range,
    .count_up_to = CountUpTo,
    .select_up_to = SelectUpTo,
    .rank = Rank,
};

}  // namespace tessera::index
