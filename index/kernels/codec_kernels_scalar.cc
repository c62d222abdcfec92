#include <algorithm>
#include <cmath>

#include "index/kernels/codec_kernels.h"

namespace tessera::index {
namespace {

float GridPoint(float value, float scale, float most) {
  return std::clamp(std::floor(value * scale) + 0.5F, -most, most);
}

Extent ExtentOf(const float* v, size_t dim) {
  Extent extent;
  float norms[4] = {};
  for (size_t i = 0; i < dim; ++i) {
    extent.largest = std::max(extent.largest, std::abs(v[i]));
    norms[i % 4] += v[i] * v[i];
  }
  extent.norm2 = (norms[0] + norms[1]) + (norms[2] + norms[3]);
  return extent;
}

// Four sums that do not wait for each other, as a compiler may not reorder float additions.
GridSums SumsOnGrid(const float* v, size_t dim, float scale, float most) {
  float dots[4] = {};
  float norms[4] = {};
  for (size_t i = 0; i < dim; ++i) {
    const float y = GridPoint(v[i], scale, most);
    dots[i % 4] += y * v[i];
    norms[i % 4] += y * y;
  }
  return {(dots[0] + dots[1]) + (dots[2] + dots[3]), (norms[0] + norms[1]) + (norms[2] + norms[3])};
}

void CodesOnGrid(const float* v, size_t dim, float scale, float most, uint8_t* codes) {
  for (size_t i = 0; i < dim; ++i) {
    codes[i] = static_cast<uint8_t>(static_cast<int>(GridPoint(v[i], scale, most) + most));
  }
}

SignSums SumsBySign(const float* v, const float* w, size_t dim) {
  SignSums sums[4];
  for (size_t i = 0; i < dim; ++i) {
    SignSums& sum = sums[i % 4];
    sum.magnitude += std::abs(v[i]);
    sum.norm2 += v[i] * v[i];
    sum.other += v[i] > 0 ? w[i] : -w[i];
  }
  for (const size_t i : {1, 2, 3}) {
    sums[0].magnitude += sums[i].magnitude;
    sums[0].norm2 += sums[i].norm2;
    sums[0].other += sums[i].other;
  }
  return sums[0];
}

int32_t RoundToBytes(const float* v, size_t dim, float inverse, int8_t* out) {
  int32_t sum = 0;
  for (size_t i = 0; i < dim; ++i) {
    out[i] = static_cast<int8_t>(static_cast<int>(std::nearbyint(v[i] * inverse)));
    sum += out[i];
  }
  return sum;
}

void MultiplyBytes(const uint8_t* matrix, size_t rows, const int8_t* vector, size_t dim,
                   int32_t* out) {
  for (size_t row = 0; row < rows; ++row) {
    int32_t sum = 0;
    for (size_t i = 0; i < dim; ++i) sum += int32_t{matrix[row * dim + i]} * vector[i];
    out[row] = sum;
  }
}

}  // namespace

const CodecKernels kCodecKernelsScalar = {
    .level = base::CpuLevel::kScalar,
    .extent = ExtentOf,
    .grid_sums = SumsOnGrid,
    .grid_codes = CodesOnGrid,
    .sign_sums = SumsBySign,
    .round_bytes = RoundToBytes,
    .multiply_bytes = MultiplyBytes,
};

}  // namespace tessera::index
