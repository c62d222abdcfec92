#include "index/heads/head_codes.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace tessera::index {
namespace {

constexpr float kCodeMax = 127;
constexpr int kLimitSteps = 20;
// Added to a float below 2^22, leaves its rounded value in the low bits.
constexpr float kRoundToInteger = 12582912;

}  // namespace

float EncodeBytes(const float* values, size_t dim, uint8_t* codes) {
  float largest = 0;
  for (size_t j = 0; j < dim; ++j) largest = std::max(largest, std::abs(values[j]));
  const float scale = largest / kCodeMax;
  if (!(scale > 0)) {
    std::fill_n(codes, dim, kCodeZero);
    return 0;
  }
  for (size_t j = 0; j < dim; ++j) {
    const float code = std::clamp(std::round(values[j] / scale), -kCodeMax, kCodeMax);
    codes[j] = static_cast<uint8_t>(static_cast<int>(code) + kCodeZero);
  }
  return scale;
}

HeadBlocks PackedVectors::blocks() const {
  return {.codes = codes.data(),
          .scales = scales.data(),
          .biases = biases.data(),
          .blocks = scales.size() / kHeadBlock,
          .quads = quads};
}

size_t PackedVectors::memory_bytes() const {
  return codes.capacity() + (scales.capacity() + biases.capacity()) * sizeof(float);
}

PackedVectors Pack(std::span<const uint8_t> codes, std::span<const float> scales, size_t dim) {
  const size_t n = scales.size();
  const size_t blocks = (n + kHeadBlock - 1) / kHeadBlock;
  PackedVectors packed;
  packed.quads = (dim + 3) / 4;
  packed.codes.assign(blocks * packed.quads * kHeadBlock * 4, kCodeZero);
  packed.scales.assign(blocks * kHeadBlock, 0.0F);
  packed.biases.assign(blocks * kHeadBlock, 0.0F);
  std::copy(scales.begin(), scales.end(), packed.scales.begin());
  for (size_t i = 0; i < n; ++i) {
    uint8_t* block = packed.codes.data() + i / kHeadBlock * packed.quads * kHeadBlock * 4;
    for (size_t j = 0; j < dim; ++j) {
      block[(j / 4 * kHeadBlock + i % kHeadBlock) * 4 + j % 4] = codes[i * dim + j];
    }
  }
  return packed;
}

HeadQuery QuantiseQuery(std::span<const float> query, std::vector<int8_t>* bytes) {
  // As integers, because the order of floats above zero is that of their bits.
  int32_t largest_bits = 0;
  for (const float value : query) {
    const int32_t bits = std::bit_cast<int32_t>(value) & 0x7FFFFFFF;
    largest_bits = bits > largest_bits ? bits : largest_bits;
  }
  const float scale = std::bit_cast<float>(largest_bits) / kCodeMax;
  const float inverse = scale > 0 ? 1 / scale : 0;
  const size_t padded = (query.size() + 3) / 4 * 4;
  bytes->resize(padded);
  int32_t sum = 0;
  for (size_t j = 0; j < query.size(); ++j) {
    const int32_t code = std::bit_cast<int32_t>(query[j] * inverse + kRoundToInteger) -
                         std::bit_cast<int32_t>(kRoundToInteger);
    (*bytes)[j] = static_cast<int8_t>(code);
    sum += code;
  }
  for (size_t j = query.size(); j < padded; ++j) (*bytes)[j] = 0;
  return {.codes = bytes->data(), .scale = scale, .offset = kCodeZero * sum};
}

float LimitOfRank(std::span<const float> values, size_t rank) {
  const HeadKernels& kernels = ActiveHeadKernels();
  float low = 0;
  float high = 0;
  kernels.range(values.data(), values.size(), &low, &high);
  const size_t slack = rank / 8;
  for (int step = 0; step < kLimitSteps; ++step) {
    const float middle = 0.5F * low + 0.5F * high;
    const size_t count = kernels.count_up_to(values.data(), values.size(), middle);
    if (count < rank) {
      low = middle;
    } else {
      high = middle;
      if (count <= rank + slack) break;
    }
  }
  return high;
}

}  // namespace tessera::index
