// Kernels of head search and assignment, one table per instruction set.
//
// Integer sums and chosen positions are equal in all tables bit for bit; floats differ by rounding.
// Threads: any. Alignment: none required.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"

namespace tessera::index {

// Heads per block of codes.
inline constexpr size_t kHeadBlock = 16;

// Heads as unsigned bytes, 16 at a time: byte ((block * quads + quad) * 16 + head) * 4 + i is
// dimension 4 * quad + i, stored as round(value / scale) + 128.
struct HeadBlocks {
  const uint8_t* codes = nullptr;
  const float* scales = nullptr;  // [blocks * 16]
  const float* biases = nullptr;  // [blocks * 16]
  size_t blocks = 0;
  size_t quads = 0;
};

// Keys up to which comparing all pairs, 8 or 16 at a time, beats sorting and its mispredictions.
inline constexpr size_t kRankQuadraticMax = 512;

// A query as signed bytes, -127 .. 127.
struct HeadQuery {
  const int8_t* codes = nullptr;  // [4 * quads]
  float scale = 0;
  float bias_scale = 1;
  int32_t offset = 0;  // 128 * sum of codes
};

struct HeadKernels {
  base::CpuLevel level;

  // Position of the largest a[i] - b[i], the first of equals, and that difference in `*best`.
  // Requires n >= 1. NaN never wins; 0 and -infinity are the answer when all are NaN.
  uint32_t (*arg_max_difference)(const float* a, const float* b, size_t n, float* best);

  // keys[h] = bias_scale * bias[h] - query scale * scale[h] * (sum of products - offset) for every
  // head of the blocks, padding included. Sums are exact up to 4 * quads = 65536 dimensions.
  void (*score_blocks)(const HeadBlocks& heads, const HeadQuery& query, float* keys);

  // The smallest and the largest key. Pre: n >= 1; no key is NaN.
  void (*range)(const float* keys, size_t n, float* low, float* high);

  // How many keys are <= limit.
  size_t (*count_up_to)(const float* keys, size_t n, float limit);
  // Writes their positions in ascending order and returns how many; `out` has room for n + 16.
  size_t (*select_up_to)(const float* keys, size_t n, float limit, uint32_t* out);

  // ranks[i] = how many keys are smaller than keys[i], or equal and before it: where a stable sort
  // puts it. Up to kRankQuadraticMax keys by counting. Pre: no key is NaN.
  void (*rank)(const float* keys, size_t n, uint32_t* ranks);
};

// The table of exactly `level`; the CPU must support it.
const HeadKernels& HeadKernelsFor(base::CpuLevel level);
// The table of base::ActiveCpuLevel(). Take it once per query.
const HeadKernels& ActiveHeadKernels();

// `rank` by sorting, for any n.
void RankBySorting(const float* keys, size_t n, uint32_t* ranks);

extern const HeadKernels kHeadKernelsScalar;
extern const HeadKernels kHeadKernelsAvx2;
extern const HeadKernels kHeadKernelsAvx512;

}  // namespace tessera::index
