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

}  // namespace
}  // namespace tessera::index
TESSERA_TARGET_END

namespace tessera::index {

const HeadKernels kHeadKernelsAvx512{
    .level = base::CpuLevel::kAvx512,
    .arg_max_difference = ArgMaxDifference,
};

}  // namespace tessera::index
