// What encoding a row and rotating a query spend their time in.
//
// Any alignment; any length, 0 included, up to base::kDimMax.
//
// Threads: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"

namespace tessera::index {

// With y_i = clamp(floor(scale v_i) + 1/2, -most, most):
struct GridSums {
  float dot = 0;    // <y, v>
  float norm2 = 0;  // |y|^2
};

struct Extent {
  float largest = 0;  // max |v_i|
  float norm2 = 0;    // |v|^2
};

struct SignSums {
  float magnitude = 0;  // sum |v_i|
  float norm2 = 0;      // |v|^2
  float other = 0;      // sum of w_i where v_i > 0, less w_i elsewhere
};

struct CodecKernels {
  base::CpuLevel level;

  Extent (*extent)(const float* v, size_t dim);
  // `most` is k + 1/2, k = 0 .. 127. The y are the same on every level, the sums but for rounding.
  GridSums (*grid_sums)(const float* v, size_t dim, float scale, float most);
  // codes [dim]: y_i + most, integers 0 .. 2 most.
  void (*grid_codes)(const float* v, size_t dim, float scale, float most, uint8_t* codes);
  SignSums (*sign_sums)(const float* v, const float* w, size_t dim);
  // out [dim]: v_i * inverse to the nearest integer, ties to even; returns their sum.
  // Pre: |v_i * inverse| < 128.
  int32_t (*round_bytes)(const float* v, size_t dim, float inverse, int8_t* out);
  // out [rows]: sum over i of matrix[row][i] * vector[i], exactly. Shapes: matrix [rows x dim].
  void (*multiply_bytes)(const uint8_t* matrix, size_t rows, const int8_t* vector, size_t dim,
                         int32_t* out);
};

extern const CodecKernels kCodecKernelsScalar;
extern const CodecKernels kCodecKernelsAvx2;
extern const CodecKernels kCodecKernelsAvx512;

const CodecKernels& CodecKernelsFor(base::CpuLevel level);
const CodecKernels& ActiveCodecKernels();  // take it once per list or query, not per row

}  // namespace tessera::index
