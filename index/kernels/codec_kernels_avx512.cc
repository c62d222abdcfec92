#include <immintrin.h>

#include "base/cpu.h"
#include "index/kernels/codec_kernels.h"

TESSERA_TARGET_BEGIN(TESSERA_AVX512_FEATURES)
namespace tessera::index {
namespace {

inline __mmask16 First16(size_t count) {
  return count < 16 ? static_cast<__mmask16>(_bzhi_u32(0xFFFF, static_cast<unsigned>(count)))
                    : __mmask16{0xFFFF};
}
inline __mmask64 First64(size_t count) {
  return count < 64 ? _bzhi_u64(~0ULL, static_cast<unsigned>(count)) : ~__mmask64{0};
}

// Zero-masked extracts that keep all lanes: GCC 12 warns of uninitialised values in the plain ones.
inline float HorizontalSum(__m512 v) {
  const __m512d halves = _mm512_castps_pd(v);
  const __m256 sum8 = _mm256_add_ps(_mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xF, halves, 0)),
                                    _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xF, halves, 1)));
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(sum8), _mm256_extractf128_ps(sum8, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

inline __m128i Fold(__m512i v) {
  const __m256i sum8 = _mm256_add_epi32(_mm512_maskz_extracti64x4_epi64(0xF, v, 0),
                                        _mm512_maskz_extracti64x4_epi64(0xF, v, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(sum8), _mm256_extracti128_si256(sum8, 1));
}

Extent ExtentOf(const float* v, size_t dim) {
  __m512 largest = _mm512_setzero_ps();
  __m512 norm2 = largest;
  for (size_t i = 0; i < dim; i += 16) {
    const __m512 value = _mm512_maskz_loadu_ps(First16(dim - i), v + i);
    largest = _mm512_maskz_max_ps(0xFFFF, largest, _mm512_abs_ps(value));
    norm2 = _mm512_fmadd_ps(value, value, norm2);
  }
  const __m512d halves = _mm512_castps_pd(largest);
  const __m256 most8 =
      _mm256_max_ps(_mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xF, halves, 0)),
                    _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xF, halves, 1)));
  __m128 most = _mm_max_ps(_mm256_castps256_ps128(most8), _mm256_extractf128_ps(most8, 1));
  most = _mm_max_ps(most, _mm_movehl_ps(most, most));
  return {_mm_cvtss_f32(_mm_max_ss(most, _mm_movehdup_ps(most))), HorizontalSum(norm2)};
}

struct Grid {
  Grid(float scale_in, float most_in)
      : scale(_mm512_set1_ps(scale_in)),
        most(_mm512_set1_ps(most_in)),
        least(_mm512_set1_ps(-most_in)) {}
  inline __m512 Point(__m512 v) const {
    const __m512 scaled = _mm512_mul_ps(v, scale);
    const __m512 floor = _mm512_maskz_roundscale_ps(0xFFFF, scaled, _MM_FROUND_TO_NEG_INF);
    const __m512 y = _mm512_add_ps(floor, _mm512_set1_ps(0.5F));
    return _mm512_maskz_max_ps(0xFFFF, _mm512_maskz_min_ps(0xFFFF, y, most), least);
  }
  __m512 scale, most, least;
};

GridSums SumsOnGrid(const float* v, size_t dim, float scale, float most) {
  const Grid grid(scale, most);
  __m512 dot0 = _mm512_setzero_ps();
  __m512 dot1 = dot0;
  __m512 norm0 = dot0;
  __m512 norm1 = dot0;
  size_t i = 0;
  for (; i + 32 <= dim; i += 32) {
    const __m512 v0 = _mm512_loadu_ps(v + i);
    const __m512 v1 = _mm512_loadu_ps(v + i + 16);
    const __m512 y0 = grid.Point(v0);
    const __m512 y1 = grid.Point(v1);
    dot0 = _mm512_fmadd_ps(y0, v0, dot0);
    dot1 = _mm512_fmadd_ps(y1, v1, dot1);
    norm0 = _mm512_fmadd_ps(y0, y0, norm0);
    norm1 = _mm512_fmadd_ps(y1, y1, norm1);
  }
  for (; i < dim; i += 16) {
    const __mmask16 mask = First16(dim - i);
    const __m512 value = _mm512_maskz_loadu_ps(mask, v + i);
    const __m512 y = _mm512_maskz_mov_ps(mask, grid.Point(value));
    dot0 = _mm512_fmadd_ps(y, value, dot0);
    norm0 = _mm512_fmadd_ps(y, y, norm0);
  }
  return {HorizontalSum(_mm512_add_ps(dot0, dot1)), HorizontalSum(_mm512_add_ps(norm0, norm1))};
}

void CodesOnGrid(const float* v, size_t dim, float scale, float most, uint8_t* codes) {
  const Grid grid(scale, most);
  for (size_t i = 0; i < dim; i += 16) {
    const __mmask16 mask = First16(dim - i);
    const __m512 y = grid.Point(_mm512_maskz_loadu_ps(mask, v + i));
    const __m512i code = _mm512_maskz_cvtps_epi32(0xFFFF, _mm512_add_ps(y, grid.most));
    _mm_mask_storeu_epi8(codes + i, mask, _mm512_maskz_cvtepi32_epi8(0xFFFF, code));
  }
}

SignSums SumsBySign(const float* v, const float* w, size_t dim) {
  __m512 magnitude = _mm512_setzero_ps();
  __m512 norm2 = magnitude;
  __m512 other = magnitude;
  for (size_t i = 0; i < dim; i += 16) {
    const __mmask16 mask = First16(dim - i);
    const __m512 value = _mm512_maskz_loadu_ps(mask, v + i);
    const __m512 weight = _mm512_maskz_loadu_ps(mask, w + i);
    const __mmask16 positive = _mm512_cmp_ps_mask(value, _mm512_setzero_ps(), _CMP_GT_OQ);
    magnitude = _mm512_add_ps(magnitude, _mm512_abs_ps(value));
    norm2 = _mm512_fmadd_ps(value, value, norm2);
    other = _mm512_mask_add_ps(_mm512_sub_ps(other, weight), positive, other, weight);
  }
  return {HorizontalSum(magnitude), HorizontalSum(norm2), HorizontalSum(other)};
}

int32_t RoundToBytes(const float* v, size_t dim, float inverse, int8_t* out) {
  const __m512 factor = _mm512_set1_ps(inverse);
  __m512i sum = _mm512_setzero_si512();
  for (size_t i = 0; i < dim; i += 16) {
    const __mmask16 mask = First16(dim - i);
    const __m512 value = _mm512_maskz_loadu_ps(mask, v + i);
    const __m512i rounded = _mm512_maskz_cvtps_epi32(0xFFFF, _mm512_mul_ps(value, factor));
    sum = _mm512_add_epi32(sum, rounded);
    _mm_mask_storeu_epi8(out + i, mask, _mm512_maskz_cvtepi32_epi8(0xFFFF, rounded));
  }
  const __m128i pairs = _mm_hadd_epi32(Fold(sum), _mm_setzero_si128());
  return _mm_cvtsi128_si32(_mm_hadd_epi32(pairs, pairs));
}

// Four rows at a time: they share the vector's loads and the last additions.
void MultiplyBytes(const uint8_t* matrix, size_t rows, const int8_t* vector, size_t dim,
                   int32_t* out) {
  size_t row = 0;
  for (; row + 4 <= rows; row += 4) {
    const uint8_t* line = matrix + row * dim;
    __m512i sums[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                       _mm512_setzero_si512()};
    for (size_t i = 0; i < dim; i += 64) {
      const __mmask64 mask = First64(dim - i);
      const __m512i values = _mm512_maskz_loadu_epi8(mask, vector + i);
      for (size_t r = 0; r < 4; ++r) {
        sums[r] =
            _mm512_dpbusd_epi32(sums[r], _mm512_maskz_loadu_epi8(mask, line + r * dim + i), values);
      }
    }
    const __m128i low = _mm_hadd_epi32(Fold(sums[0]), Fold(sums[1]));
    const __m128i high = _mm_hadd_epi32(Fold(sums[2]), Fold(sums[3]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + row), _mm_hadd_epi32(low, high));
  }
  for (; row < rows; ++row) {
    __m512i sum = _mm512_setzero_si512();
    for (size_t i = 0; i < dim; i += 64) {
      const __mmask64 mask = First64(dim - i);
      sum = _mm512_dpbusd_epi32(sum, _mm512_maskz_loadu_epi8(mask, matrix + row * dim + i),
                                _mm512_maskz_loadu_epi8(mask, vector + i));
    }
    const __m128i pairs = _mm_hadd_epi32(Fold(sum), _mm_setzero_si128());
    out[row] = _mm_cvtsi128_si32(_mm_hadd_epi32(pairs, pairs));
  }
}

}  // namespace
}  // namespace tessera::index
TESSERA_TARGET_END

namespace tessera::index {

const CodecKernels kCodecKernelsAvx512 = {
    .level = base::CpuLevel::kAvx512,
    .extent = ExtentOf,
    .grid_sums = SumsOnGrid,
    .grid_codes = CodesOnGrid,
    .sign_sums = SumsBySign,
    .round_bytes = RoundToBytes,
    .multiply_bytes = MultiplyBytes,
};

}  // namespace tessera::index
