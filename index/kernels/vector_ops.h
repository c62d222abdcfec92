// Distances and dot products of one pair of vectors, for every element type.
//
// The float operations take an f32 query against stored elements and sum in f32; the integer ones
// are exact. Any alignment; any length, 0 included, up to base::kDimMax.
//
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"

namespace tessera::index {

struct VectorOps {
  base::CpuLevel level;

  // Squared L2 and dot product of an f32 query with f32, f16 (bits), i8 and u8 elements.
  float (*l2_f32)(const float* query, const float* row, size_t dim);
  float (*l2_f16)(const float* query, const uint16_t* row, size_t dim);
  float (*l2_i8)(const float* query, const int8_t* row, size_t dim);
  float (*l2_u8)(const float* query, const uint8_t* row, size_t dim);
  float (*dot_f32)(const float* query, const float* row, size_t dim);
  float (*dot_f16)(const float* query, const uint16_t* row, size_t dim);
  float (*dot_i8)(const float* query, const int8_t* row, size_t dim);
  float (*dot_u8)(const float* query, const uint8_t* row, size_t dim);
  // |row|^2.
  float (*norm2_f32)(const float* row, size_t dim);
  float (*norm2_f16)(const uint16_t* row, size_t dim);

  // Exact.
  int32_t (*int_l2_i8)(const int8_t* a, const int8_t* b, size_t dim);
  int32_t (*int_l2_u8)(const uint8_t* a, const uint8_t* b, size_t dim);
  int32_t (*int_dot_i8)(const int8_t* a, const int8_t* b, size_t dim);
  int32_t (*int_dot_u8)(const uint8_t* a, const uint8_t* b, size_t dim);

  // Dot product of an i8 query with unsigned codes. 4 bits: byte i holds code i in its low and
  // code `bytes` + i in its high half; query_low and query_high [bytes] are the query's halves.
  int32_t (*code4_dot)(const uint8_t* codes, const int8_t* query_low, const int8_t* query_high,
                       size_t bytes);
  int32_t (*code8_dot)(const uint8_t* codes, const int8_t* query, size_t dim);
};

extern const VectorOps kVectorOpsScalar;
extern const VectorOps kVectorOpsAvx2;
extern const VectorOps kVectorOpsAvx512;

const VectorOps& VectorOpsFor(base::CpuLevel level);
const VectorOps& ActiveVectorOps();  // take it once per query, not per row

}  // namespace tessera::index
