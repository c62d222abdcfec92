#include <immintrin.h>

#include "base/cpu.h"
#include "index/kernels/codec_kernels.h"

TESSERA_TARGET_BEGIN(TESSERA_AVX2_FEATURES)
namespace tessera::index {
namespace {

// All ones in the first `count` lanes.
inline __m256i FirstLanes(size_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

inline float HorizontalSum(__m256 v) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

Extent ExtentOf(const float* v, size_t dim) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  __m256 largest = _mm256_setzero_ps();
  __m256 norm2 = largest;
  for (size_t i = 0; i < dim; i += 8) {
    const __m256 value = _mm256_maskload_ps(v + i, FirstLanes(dim - i));
    largest = _mm256_max_ps(largest, _mm256_andnot_ps(sign, value));
    norm2 = _mm256_fmadd_ps(value, value, norm2);
  }
  __m128 most = _mm_max_ps(_mm256_castps256_ps128(largest), _mm256_extractf128_ps(largest, 1));
  most = _mm_max_ps(most, _mm_movehl_ps(most, most));
  return {_mm_cvtss_f32(_mm_max_ss(most, _mm_movehdup_ps(most))), HorizontalSum(norm2)};
}

struct Grid {
  Grid(float scale_in, float most_in)
      : scale(_mm256_set1_ps(scale_in)),
        most(_mm256_set1_ps(most_in)),
        least(_mm256_set1_ps(-most_in)) {}
  inline __m256 Point(__m256 v) const {
    const __m256 y = _mm256_add_ps(_mm256_floor_ps(_mm256_mul_ps(v, scale)), _mm256_set1_ps(0.5F));
    return _mm256_max_ps(_mm256_min_ps(y, most), least);
  }
  __m256 scale, most, least;
};

GridSums SumsOnGrid(const float* v, size_t dim, float scale, float most) {
  const Grid grid(scale, most);
  __m256 dot0 = _mm256_setzero_ps();
  __m256 dot1 = dot0;
  __m256 norm0 = dot0;
  __m256 norm1 = dot0;
  size_t i = 0;
  for (; i + 16 <= dim; i += 16) {
    const __m256 v0 = _mm256_loadu_ps(v + i);
    const __m256 v1 = _mm256_loadu_ps(v + i + 8);
    const __m256 y0 = grid.Point(v0);
    const __m256 y1 = grid.Point(v1);
    dot0 = _mm256_fmadd_ps(y0, v0, dot0);
    dot1 = _mm256_fmadd_ps(y1, v1, dot1);
    norm0 = _mm256_fmadd_ps(y0, y0, norm0);
    norm1 = _mm256_fmadd_ps(y1, y1, norm1);
  }
  for (; i < dim; i += 8) {
    const __m256i mask = FirstLanes(dim - i);
    const __m256 value = _mm256_maskload_ps(v + i, mask);
    const __m256 y = _mm256_and_ps(grid.Point(value), _mm256_castsi256_ps(mask));
    dot0 = _mm256_fmadd_ps(y, value, dot0);
    norm0 = _mm256_fmadd_ps(y, y, norm0);
  }
  return {HorizontalSum(_mm256_add_ps(dot0, dot1)), HorizontalSum(_mm256_add_ps(norm0, norm1))};
}

void CodesOnGrid(const float* v, size_t dim, float scale, float most, uint8_t* codes) {
  const Grid grid(scale, most);
  for (size_t i = 0; i < dim; i += 8) {
    const size_t count = dim - i < 8 ? dim - i : 8;
    const __m256 value = _mm256_maskload_ps(v + i, FirstLanes(count));
    const __m256i code = _mm256_cvtps_epi32(_mm256_add_ps(grid.Point(value), grid.most));
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
    alignas(16) uint8_t bytes[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(bytes), _mm_packus_epi16(words, words));
    __builtin_memcpy(codes + i, bytes, count);
  }
}

SignSums SumsBySign(const float* v, const float* w, size_t dim) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  __m256 magnitude = _mm256_setzero_ps();
  __m256 norm2 = magnitude;
  __m256 other = magnitude;
  for (size_t i = 0; i < dim; i += 8) {
    const __m256i mask = FirstLanes(dim - i);
    const __m256 value = _mm256_maskload_ps(v + i, mask);
    const __m256 weight = _mm256_maskload_ps(w + i, mask);
    const __m256 positive = _mm256_cmp_ps(value, _mm256_setzero_ps(), _CMP_GT_OQ);
    magnitude = _mm256_add_ps(magnitude, _mm256_andnot_ps(sign, value));
    norm2 = _mm256_fmadd_ps(value, value, norm2);
    other = _mm256_add_ps(other, _mm256_xor_ps(weight, _mm256_andnot_ps(positive, sign)));
  }
  return {HorizontalSum(magnitude), HorizontalSum(norm2), HorizontalSum(other)};
}

int32_t HorizontalSum(__m256i v) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1)));
}

int32_t RoundToBytes(const float* v, size_t dim, float inverse, int8_t* out) {
  const __m256 factor = _mm256_set1_ps(inverse);
  __m256i sum = _mm256_setzero_si256();
  for (size_t i = 0; i < dim; i += 8) {
    const size_t count = dim - i < 8 ? dim - i : 8;
    const __m256 value = _mm256_maskload_ps(v + i, FirstLanes(count));
    const __m256i rounded = _mm256_cvtps_epi32(_mm256_mul_ps(value, factor));
    sum = _mm256_add_epi32(sum, rounded);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
    alignas(16) int8_t bytes[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(bytes), _mm_packs_epi16(words, words));
    __builtin_memcpy(out + i, bytes, count);
  }
  return HorizontalSum(sum);
}

// Of 16 elements, in pairs.
inline __m256i Products(const uint8_t* a, const int8_t* b) {
  return _mm256_madd_epi16(
      _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a))),
      _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b))));
}

void MultiplyBytes(const uint8_t* matrix, size_t rows, const int8_t* vector, size_t dim,
                   int32_t* out) {
  for (size_t row = 0; row < rows; ++row) {
    const uint8_t* line = matrix + row * dim;
    __m256i sum0 = _mm256_setzero_si256();
    __m256i sum1 = sum0;
    size_t i = 0;
    for (; i + 32 <= dim; i += 32) {
      sum0 = _mm256_add_epi32(sum0, Products(line + i, vector + i));
      sum1 = _mm256_add_epi32(sum1, Products(line + i + 16, vector + i + 16));
    }
    if (i + 16 <= dim) {
      sum0 = _mm256_add_epi32(sum0, Products(line + i, vector + i));
      i += 16;
    }
    int32_t sum = HorizontalSum(_mm256_add_epi32(sum0, sum1));
    for (; i < dim; ++i) sum += int32_t{line[i]} * vector[i];
    out[row] = sum;
  }
}

}  // namespace
}  // namespace tessera::index
TESSERA_TARGET_END

namespace tessera::index {

const CodecKernels kCodecKernelsAvx2 = {
    .level = base::CpuLevel::kAvx2,
    .extent = ExtentOf,
    .grid_sums = SumsOnGrid,
    .grid_codes = CodesOnGrid,
    .sign_sums = SumsBySign,
    .round_bytes = RoundToBytes,
    .multiply_bytes = MultiplyBytes,
};

}  // namespace tessera::index
