#include <cstring>

#include <immintrin.h>

#include "base/cpu.h"
#include "index/kernels/vector_ops.h"

TESSERA_TARGET_BEGIN(TESSERA_AVX2_FEATURES)
namespace tessera::index {
namespace {

// 8 elements as f32.
inline __m256 Load(const float* p) {
  return _mm256_loadu_ps(p);
}
inline __m256 Load(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline __m256 Load(const int8_t* p) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
inline __m256 Load(const uint8_t* p) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}

// The last 1 .. 7 elements, then zeros.
template <typename T>
inline __m256 LoadTail(const T* p, size_t count) {
  T padded[8] = {};
  std::memcpy(padded, p, count * sizeof(T));
  return Load(padded);
}

struct SquaredGap {
  static inline __m256 Add(__m256 sum, __m256 a, __m256 b) {
    const __m256 gap = _mm256_sub_ps(a, b);
    return _mm256_fmadd_ps(gap, gap, sum);
  }
};

struct Product {
  static inline __m256 Add(__m256 sum, __m256 a, __m256 b) { return _mm256_fmadd_ps(a, b, sum); }
};

inline float HorizontalSum(__m256 v) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

inline int32_t HorizontalSum(__m256i v) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1)));
}

template <typename Op, typename A, typename B>
float Reduce(const A* a, const B* b, size_t dim) {
  __m256 sum0 = _mm256_setzero_ps();
  __m256 sum1 = sum0;
  __m256 sum2 = sum0;
  __m256 sum3 = sum0;
  size_t i = 0;
  for (; i + 32 <= dim; i += 32) {
    sum0 = Op::Add(sum0, Load(a + i), Load(b + i));
    sum1 = Op::Add(sum1, Load(a + i + 8), Load(b + i + 8));
    sum2 = Op::Add(sum2, Load(a + i + 16), Load(b + i + 16));
    sum3 = Op::Add(sum3, Load(a + i + 24), Load(b + i + 24));
  }
  for (; i + 8 <= dim; i += 8) sum0 = Op::Add(sum0, Load(a + i), Load(b + i));
  if (i < dim) sum1 = Op::Add(sum1, LoadTail(a + i, dim - i), LoadTail(b + i, dim - i));
  return HorizontalSum(_mm256_add_ps(_mm256_add_ps(sum0, sum1), _mm256_add_ps(sum2, sum3)));
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

// 16 elements as 16-bit integers.
inline __m256i Widen(const int8_t* p) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline __m256i Widen(const uint8_t* p) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

template <typename T>
inline __m256i WidenTail(const T* p, size_t count) {
  T padded[16] = {};
  std::memcpy(padded, p, count);
  return Widen(padded);
}

inline __m256i AddSquares(__m256i sum, __m256i a, __m256i b) {
  const __m256i gap = _mm256_sub_epi16(a, b);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(gap, gap));
}

template <typename T>
int32_t IntL2(const T* a, const T* b, size_t dim) {
  __m256i sum = _mm256_setzero_si256();
  size_t i = 0;
  for (; i + 16 <= dim; i += 16) sum = AddSquares(sum, Widen(a + i), Widen(b + i));
  if (i < dim) sum = AddSquares(sum, WidenTail(a + i, dim - i), WidenTail(b + i, dim - i));
  return HorizontalSum(sum);
}

template <typename A, typename B>
int32_t IntDot(const A* a, const B* b, size_t dim) {
  __m256i sum = _mm256_setzero_si256();
  size_t i = 0;
  for (; i + 16 <= dim; i += 16) {
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(Widen(a + i), Widen(b + i)));
  }
  if (i < dim) {
    sum = _mm256_add_epi32(sum,
                           _mm256_madd_epi16(WidenTail(a + i, dim - i), WidenTail(b + i, dim - i)));
  }
  return HorizontalSum(sum);
}

inline __m256i Load32(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

// Pairs of 15 * 127 fit 16 bits easily.
inline __m256i AddCode4(__m256i sum, __m256i code, __m256i low, __m256i high) {
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i pairs = _mm256_add_epi16(
      _mm256_maddubs_epi16(_mm256_and_si256(code, nibble), low),
      _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(code, 4), nibble), high));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

int32_t Code4Dot(const uint8_t* codes, const int8_t* query_low, const int8_t* query_high,
                 size_t bytes) {
  __m256i sum = _mm256_setzero_si256();
  size_t i = 0;
  for (; i + 32 <= bytes; i += 32) {
    sum = AddCode4(sum, Load32(codes + i), Load32(query_low + i), Load32(query_high + i));
  }
  if (i < bytes) {
    uint8_t code[32] = {};
    int8_t low[32] = {};
    int8_t high[32] = {};
    std::memcpy(code, codes + i, bytes - i);
    std::memcpy(low, query_low + i, bytes - i);
    std::memcpy(high, query_high + i, bytes - i);
    sum = AddCode4(sum, Load32(code), Load32(low), Load32(high));
  }
  return HorizontalSum(sum);
}

}  // namespace
}  // namespace tessera::index
TESSERA_TARGET_END

namespace tessera::index {
const VectorOps kVectorOpsAvx2{
    .level = base::CpuLevel::kAvx2,
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
    .int_dot_i8 = IntDot<int8_t, int8_t>,
    .int_dot_u8 = IntDot<uint8_t, uint8_t>,
    .code4_dot = Code4Dot,
    .code8_dot = IntDot<uint8_t, int8_t>,
};
}  // namespace tessera::index
