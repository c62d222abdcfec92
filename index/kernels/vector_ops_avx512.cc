#include <immintrin.h>

#include "base/cpu.h"
#include "index/kernels/vector_ops.h"

TESSERA_TARGET_BEGIN(TESSERA_AVX512_FEATURES)
namespace tessera::index {
namespace {

// 16 elements as f32; those outside the mask are 0 and not read.
inline __m512 Load(const float* p, __mmask16 mask) {
  return _mm512_maskz_loadu_ps(mask, p);
}
inline __m512 Load(const uint16_t* p, __mmask16 mask) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, p));
}
inline __m512 Load(const int8_t* p, __mmask16 mask) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, p)));
}
inline __m512 Load(const uint8_t* p, __mmask16 mask) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, p)));
}

struct SquaredGap {
  static inline __m512 Add(__m512 sum, __m512 a, __m512 b) {
    const __m512 gap = _mm512_sub_ps(a, b);
    return _mm512_fmadd_ps(gap, gap, sum);
  }
};

struct Product {
  static inline __m512 Add(__m512 sum, __m512 a, __m512 b) { return _mm512_fmadd_ps(a, b, sum); }
};

constexpr __mmask16 kAll16 = 0xFFFF;

inline __mmask16 First16(size_t count) {
  return static_cast<__mmask16>(_bzhi_u32(0xFFFF, static_cast<unsigned>(count)));
}

// Not _mm512_reduce_add_* or the casts: GCC 12 warns of uninitialised values in them. A zero-masked
// extract that keeps all lanes compiles to the same instructions.
inline float HorizontalSum(__m512 v) {
  const __m512d halves = _mm512_castps_pd(v);
  const __m256 low = _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xF, halves, 0));
  const __m256 high = _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xF, halves, 1));
  const __m256 sum8 = _mm256_add_ps(low, high);
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(sum8), _mm256_extractf128_ps(sum8, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

inline int32_t HorizontalSum(__m512i v) {
  const __m256i sum8 = _mm256_add_epi32(_mm512_maskz_extracti64x4_epi64(0xF, v, 0),
                                        _mm512_maskz_extracti64x4_epi64(0xF, v, 1));
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sum8), _mm256_extracti128_si256(sum8, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1)));
}

// Four sums, as an addition takes four cycles.
template <typename Op, typename A, typename B>
float Reduce(const A* a, const B* b, size_t dim) {
  __m512 sum0 = _mm512_setzero_ps();
  __m512 sum1 = sum0;
  __m512 sum2 = sum0;
  __m512 sum3 = sum0;
  size_t i = 0;
  for (; i + 64 <= dim; i += 64) {
    sum0 = Op::Add(sum0, Load(a + i, kAll16), Load(b + i, kAll16));
    sum1 = Op::Add(sum1, Load(a + i + 16, kAll16), Load(b + i + 16, kAll16));
    sum2 = Op::Add(sum2, Load(a + i + 32, kAll16), Load(b + i + 32, kAll16));
    sum3 = Op::Add(sum3, Load(a + i + 48, kAll16), Load(b + i + 48, kAll16));
  }
  for (; i + 16 <= dim; i += 16) sum0 = Op::Add(sum0, Load(a + i, kAll16), Load(b + i, kAll16));
  if (i < dim) {
    const __mmask16 mask = First16(dim - i);
    sum1 = Op::Add(sum1, Load(a + i, mask), Load(b + i, mask));
  }
  return HorizontalSum(_mm512_add_ps(_mm512_add_ps(sum0, sum1), _mm512_add_ps(sum2, sum3)));
}

template <typename T>
float L2(const float* query, const T* row, size_t dim) {
  return Reduce<SquaredGap>(query, row, dim);
}

template <typename T>
float Dot(const float* query, const T* row, size_t dim) {
  return Reduce<Product>(query, row, dim);
}

template <typename T>
float Norm2(const T* row, size_t dim) {
  return Reduce<Product>(row, row, dim);
}

// 32 elements as 16-bit integers.
inline __m512i Widen(const int8_t* p, __mmask32 mask) {
  return _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(mask, p));
}
inline __m512i Widen(const uint8_t* p, __mmask32 mask) {
  return _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(mask, p));
}

inline __mmask32 First32(size_t count) {
  return count < 32 ? _bzhi_u32(~0U, static_cast<unsigned>(count)) : ~__mmask32{0};
}

template <typename T>
int32_t IntL2(const T* a, const T* b, size_t dim) {
  __m512i sum = _mm512_setzero_si512();
  for (size_t i = 0; i < dim; i += 32) {
    const __mmask32 mask = First32(dim - i);
    const __m512i gap = _mm512_sub_epi16(Widen(a + i, mask), Widen(b + i, mask));
    sum = _mm512_dpwssd_epi32(sum, gap, gap);
  }
  return HorizontalSum(sum);
}

template <typename T>
int32_t IntDot(const T* a, const T* b, size_t dim) {
  __m512i sum = _mm512_setzero_si512();
  for (size_t i = 0; i < dim; i += 32) {
    const __mmask32 mask = First32(dim - i);
    sum = _mm512_dpwssd_epi32(sum, Widen(a + i, mask), Widen(b + i, mask));
  }
  return HorizontalSum(sum);
}

inline __mmask64 First64(size_t count) {
  return count < 64 ? _bzhi_u64(~0ULL, static_cast<unsigned>(count)) : ~__mmask64{0};
}

int32_t Code4Dot(const uint8_t* codes, const int8_t* query_low, const int8_t* query_high,
                 size_t bytes) {
  __m512i low = _mm512_setzero_si512();
  __m512i high = low;
  const __m512i nibble = _mm512_set1_epi8(15);
  for (size_t i = 0; i < bytes; i += 64) {
    const __mmask64 mask = First64(bytes - i);
    const __m512i code = _mm512_maskz_loadu_epi8(mask, codes + i);
    low = _mm512_dpbusd_epi32(low, _mm512_and_si512(code, nibble),
                              _mm512_maskz_loadu_epi8(mask, query_low + i));
    high = _mm512_dpbusd_epi32(high, _mm512_and_si512(_mm512_srli_epi16(code, 4), nibble),
                               _mm512_maskz_loadu_epi8(mask, query_high + i));
  }
  return HorizontalSum(_mm512_add_epi32(low, high));
}

int32_t Code8Dot(const uint8_t* codes, const int8_t* query, size_t dim) {
  __m512i sum = _mm512_setzero_si512();
  for (size_t i = 0; i < dim; i += 64) {
    const __mmask64 mask = First64(dim - i);
    sum = _mm512_dpbusd_epi32(sum, _mm512_maskz_loadu_epi8(mask, codes + i),
                              _mm512_maskz_loadu_epi8(mask, query + i));
  }
  return HorizontalSum(sum);
}

}  // namespace
}  // namespace tessera::index
TESSERA_TARGET_END

namespace tessera::index {
const VectorOps kVectorOpsAvx512{
    .level = base::CpuLevel::kAvx512,
    .l2_f32 = L2<float>,
    .l2_f16 = L2<uint16_t>,
    .l2_i8 = L2<int8_t>,
    .l2_u8 = L2<uint8_t>,
    .dot_f32 = Dot<float>,
    .dot_f16 = Dot<uint16_t>,
    .dot_i8 = Dot<int8_t>,
    .dot_u8 = Dot<uint8_t>,
    .norm2_f32 = Norm2<float>,
    .norm2_f16 = Norm2<uint16_t>,
    .int_l2_i8 = IntL2<int8_t>,
    .int_l2_u8 = IntL2<uint8_t>,
    .int_dot_i8 = IntDot<int8_t>,
    .int_dot_u8 = IntDot<uint8_t>,
    .code4_dot = Code4Dot,
    .code8_dot = Code8Dot,
};
}  // namespace tessera::index
