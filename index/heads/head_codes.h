// Vectors as one byte per dimension, for the head index's own files: the encoding, the packing into
// the blocks of kernels/head_kernels.h, and queries as bytes.
//
// Threads: free functions without shared state; PackedVectors is immutable once packed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "index/kernels/head_kernels.h"

namespace tessera::index {

// The code of 0; codes are 1 .. 255.
inline constexpr uint8_t kCodeZero = 128;

// value[j] ~ scale * (codes[j] - kCodeZero) with the least scale that fits; returns it. The zero
// vector has scale 0. Shapes: values, codes [dim].
float EncodeBytes(const float* values, size_t dim, uint8_t* codes);

// Vectors [n x dim] of such codes in blocks; padding vectors are zero.
struct PackedVectors {
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  std::vector<float> biases;  // 0 unless set by the owner
  size_t quads = 0;

  HeadBlocks blocks() const;
  size_t padded_count() const { return scales.size(); }
  size_t memory_bytes() const;
};
PackedVectors Pack(std::span<const uint8_t> codes, std::span<const float> scales, size_t dim);

// A query [dim] as bytes, which are kept in `bytes`.
HeadQuery QuantiseQuery(std::span<const float> query, std::vector<int8_t>* bytes);

// A value that at least `rank` of the values do not exceed, and few more than that: the exact one
// or one with up to an eighth more. Found by halving, because counting some hundred values takes
// fewer cycles than a few mispredicted branches of a selection algorithm. Pre: 1 <= rank <=
// values.size(); no NaN.
float LimitOfRank(std::span<const float> values, size_t rank);

}  // namespace tessera::index
