#include <algorithm>
#include <cstring>
#include <limits>

#include <immintrin.h>

#include "index/kernels/head_kernels.h"

TESSERA_TARGET_BEGIN(TESSERA_AVX512_FEATURES)
namespace tessera::index {
namespace {

// The lanes below `n - i` of the vector at i.
__mmask16 TailMask(size_t i, size_t n) {
  return n - i >= 16 ? static_cast<__mmask16>(0xFFFF)
                     : static_cast<__mmask16>((1U << (n - i)) - 1U);
}

uint32_t ArgMaxDifference(const float* a, const float* b, size_t n, float* best) {
  const float lowest = -std::numeric_limits<float>::infinity();
  __m512 top = _mm512_set1_ps(lowest);
  __m512i where = _mm512_setzero_si512();
  __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = TailMask(i, n);
    const __m512 difference =
        _mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, a + i), _mm512_maskz_loadu_ps(lanes, b + i));
    const __mmask16 larger = _mm512_mask_cmp_ps_mask(lanes, difference, top, _CMP_GT_OQ);
    top = _mm512_mask_mov_ps(top, larger, difference);
    where = _mm512_mask_mov_epi32(where, larger, index);
    index = _mm512_add_epi32(index, _mm512_set1_epi32(16));
  }
  alignas(64) float tops[16];
  alignas(64) uint32_t wheres[16];
  _mm512_store_ps(tops, top);
  _mm512_store_si512(wheres, where);
  float winner_value = lowest;
  uint32_t winner = 0;
  for (size_t lane = 0; lane < 16; ++lane) {
    if (tops[lane] > winner_value || (tops[lane] == winner_value && wheres[lane] < winner)) {
      winner_value = tops[lane];
      winner = wheres[lane];
    }
  }
  *best = winner_value;
  return winner;
}

void StoreKeys(const HeadBlocks& heads, const HeadQuery& query, size_t block, __m512i sum,
               float* keys) {
  const size_t h = block * kHeadBlock;
  const __m512 products =
      _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, _mm512_set1_epi32(query.offset)));
  const __m512 scales =
      _mm512_mul_ps(_mm512_set1_ps(query.scale), _mm512_loadu_ps(heads.scales + h));
  const __m512 biases =
      _mm512_mul_ps(_mm512_set1_ps(query.bias_scale), _mm512_loadu_ps(heads.biases + h));
  _mm512_storeu_ps(keys + h, _mm512_fnmadd_ps(scales, products, biases));
}

// The 4 bytes of a quad in every lane.
__m512i Quad(const int8_t* codes) {
  int32_t quad;
  std::memcpy(&quad, codes, sizeof(quad));
  return _mm512_set1_epi32(quad);
}

void ScoreBlocks(const HeadBlocks& heads, const HeadQuery& query, float* keys) {
  const size_t bytes = heads.quads * kHeadBlock * 4;
  size_t block = 0;
  // Four independent sums hide the latency of the dot product instruction.
  for (; block + 4 <= heads.blocks; block += 4) {
    const uint8_t* codes = heads.codes + block * bytes;
    __m512i sum0 = _mm512_setzero_si512();
    __m512i sum1 = _mm512_setzero_si512();
    __m512i sum2 = _mm512_setzero_si512();
    __m512i sum3 = _mm512_setzero_si512();
    for (size_t quad = 0; quad < heads.quads; ++quad, codes += 64) {
      const __m512i q = Quad(query.codes + quad * 4);
      sum0 = _mm512_dpbusd_epi32(sum0, _mm512_loadu_si512(codes), q);
      sum1 = _mm512_dpbusd_epi32(sum1, _mm512_loadu_si512(codes + bytes), q);
      sum2 = _mm512_dpbusd_epi32(sum2, _mm512_loadu_si512(codes + 2 * bytes), q);
      sum3 = _mm512_dpbusd_epi32(sum3, _mm512_loadu_si512(codes + 3 * bytes), q);
    }
    StoreKeys(heads, query, block, sum0, keys);
    StoreKeys(heads, query, block + 1, sum1, keys);
    StoreKeys(heads, query, block + 2, sum2, keys);
    StoreKeys(heads, query, block + 3, sum3, keys);
  }
  for (; block < heads.blocks; ++block) {
    const uint8_t* codes = heads.codes + block * bytes;
    __m512i sum = _mm512_setzero_si512();
    for (size_t quad = 0; quad < heads.quads; ++quad, codes += 64) {
      sum = _mm512_dpbusd_epi32(sum, _mm512_loadu_si512(codes), Quad(query.codes + quad * 4));
    }
    StoreKeys(heads, query, block, sum, keys);
  }
}

void Range(const float* keys, size_t n, float* low, float* high) {
  __m512 lows = _mm512_set1_ps(keys[0]);
  __m512 highs = lows;
  for (size_t i = 0; i < n; i += 16) {
    const __m512 key = _mm512_mask_loadu_ps(_mm512_set1_ps(keys[0]), TailMask(i, n), keys + i);
    lows = _mm512_min_ps(lows, key);
    highs = _mm512_max_ps(highs, key);
  }
  alignas(64) float lanes[32];
  _mm512_store_ps(lanes, lows);
  _mm512_store_ps(lanes + 16, highs);
  *low = *std::min_element(lanes, lanes + 16);
  *high = *std::max_element(lanes + 16, lanes + 32);
}

size_t CountUpTo(const float* keys, size_t n, float limit) {
  const __m512 limits = _mm512_set1_ps(limit);
  size_t count = 0;
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = TailMask(i, n);
    const __mmask16 within =
        _mm512_mask_cmp_ps_mask(lanes, _mm512_maskz_loadu_ps(lanes, keys + i), limits, _CMP_LE_OQ);
    count += static_cast<size_t>(__builtin_popcount(within));
  }
  return count;
}

size_t SelectUpTo(const float* keys, size_t n, float limit, uint32_t* out) {
  const __m512 limits = _mm512_set1_ps(limit);
  __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  size_t count = 0;
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = TailMask(i, n);
    const __mmask16 within =
        _mm512_mask_cmp_ps_mask(lanes, _mm512_maskz_loadu_ps(lanes, keys + i), limits, _CMP_LE_OQ);
    // Compressing to a register and storing it whole is faster than the compressing store.
    _mm512_storeu_si512(out + count, _mm512_maskz_compress_epi32(within, index));
    count += static_cast<size_t>(__builtin_popcount(within));
    index = _mm512_add_epi32(index, _mm512_set1_epi32(16));
  }
  return count;
}

void Rank(const float* keys, size_t n, uint32_t* ranks) {
  if (n > kRankQuadraticMax) {
    RankBySorting(keys, n, ranks);
    return;
  }
  // Ranks of 16 keys at a time, one key broadcast after the other.
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 lanes = TailMask(i, n);
    const __m512 mine = _mm512_maskz_loadu_ps(lanes, keys + i);
    __m512i rank = _mm512_setzero_si512();
    const __m512i one = _mm512_set1_epi32(1);
    for (size_t j = 0; j < i; ++j) {
      const __mmask16 before = _mm512_cmp_ps_mask(_mm512_set1_ps(keys[j]), mine, _CMP_LE_OQ);
      rank = _mm512_mask_add_epi32(rank, before, rank, one);
    }
    const size_t end = i + 16 < n ? i + 16 : n;
    for (size_t j = i; j < end; ++j) {
      const __m512 key = _mm512_set1_ps(keys[j]);
      const __mmask16 equal = _mm512_cmp_ps_mask(key, mine, _CMP_EQ_OQ);
      const __mmask16 later = static_cast<__mmask16>(0xFFFEU << (j - i));
      const __mmask16 before =
          static_cast<__mmask16>(_mm512_cmp_ps_mask(key, mine, _CMP_LT_OQ) | (equal & later));
      rank = _mm512_mask_add_epi32(rank, before, rank, one);
    }
    for (size_t j = end; j < n; ++j) {
      const __mmask16 before = _mm512_cmp_ps_mask(_mm512_set1_ps(keys[j]), mine, _CMP_LT_OQ);
      rank = _mm512_mask_add_epi32(rank, before, rank, one);
    }
    _mm512_mask_storeu_epi32(ranks + i, lanes, rank);
  }
}

}  // namespace
}  // namespace tessera::index
TESSERA_TARGET_END

namespace tessera::index {

const HeadKernels kHeadKernelsAvx512{
    .level = base::CpuLevel::kAvx512,
    .arg_max_difference = ArgMaxDifference,
    .score_blocks = ScoreBlocks,
    .range = Range,
    .count_up_to = CountUpTo,
    .select_up_to = SelectUpTo,
    .rank = Rank,
};

}  // namespace tessera::index
