#include <cstring>

#include "base/float16.h"
#include "index/kernels/vector_ops.h"

namespace tessera::index {
namespace {

float ToFloat(float value) {
  return value;
}
float ToFloat(uint16_t value) {
  return base::F16ToF32(value);
}
float ToFloat(int8_t value) {
  return static_cast<float>(value);
}
float ToFloat(uint8_t value) {
  return static_cast<float>(value);
}

// Rows have any alignment.
template <typename T>
float ElementOf(const T* row, size_t i) {
  T value;
  std::memcpy(&value, row + i, sizeof(T));
  return ToFloat(value);
}

// Four sums that do not wait for each other, as a compiler may not reorder float additions.
template <typename T>
float L2(const float* query, const T* row, size_t dim) {
  float sums[4] = {};
  for (size_t i = 0; i < dim; ++i) {
    const float gap = query[i] - ElementOf(row, i);
    sums[i % 4] += gap * gap;
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

template <typename T>
float Dot(const float* query, const T* row, size_t dim) {
  float sums[4] = {};
  for (size_t i = 0; i < dim; ++i) sums[i % 4] += query[i] * ElementOf(row, i);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

template <typename T>
float Norm2(const T* row, size_t dim) {
  float sums[4] = {};
  for (size_t i = 0; i < dim; ++i) sums[i % 4] += ElementOf(row, i) * ElementOf(row, i);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

template <typename T>
int32_t IntL2(const T* a, const T* b, size_t dim) {
  int32_t sum = 0;
  for (size_t i = 0; i < dim; ++i) {
    const int gap = int{a[i]} - int{b[i]};
    sum += gap * gap;
  }
  return sum;
}

template <typename A, typename B>
int32_t IntDot(const A* a, const B* b, size_t dim) {
  int32_t sum = 0;
  for (size_t i = 0; i < dim; ++i) sum += int{a[i]} * int{b[i]};
  return sum;
}

int32_t Code4Dot(const uint8_t* codes, const int8_t* query_low, const int8_t* query_high,
                 size_t bytes) {
  int32_t sum = 0;
  for (size_t i = 0; i < bytes; ++i) {
    sum += (codes[i] & 15) * query_low[i] + (codes[i] >> 4) * query_high[i];
  }
  return sum;
}

}  // namespace

const VectorOps kVectorOpsScalar{
    .level = base::CpuLevel::kScalar,
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
