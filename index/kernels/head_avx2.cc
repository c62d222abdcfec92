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

}  // namespace
}  // namespace tessera::index
TESSERA_TARGET_END

namespace tessera::index {

const HeadKernels kHeadKernelsAvx2{
    .level = base::CpuLevel::kAvx2,
    .arg_max_difference = ArgMaxDifference,
};

}  // namespace tessera::index
