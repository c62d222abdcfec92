// Uniform scalar quantisation of one vector, with the step that keeps its direction best.
//
// Threads: free functions.
// Source:  Gao et al., "Practical and Asymptotically Optimal Quantization of High-Dimensional
//          Vectors in Euclidean Space ...", SIGMOD 2025. Differs: instead of all steps at which a
//          code changes, a dozen are tried. That is within 0.3 % of the best error, and of less
//          error than the code adjustment of "SAQ" (SIGMOD 2026) after six rounds, which moves
//          single codes from the step that clips nothing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "index/kernels/codec_kernels.h"

namespace tessera::index {

// Codes of `bits` per dimension: code k stands for y = k - (2^bits - 1) / 2, in the step's unit.
//
// Shapes: v and codes [dim]; bits 1 .. 8. `extent` is that of v.
// Returns <y, v>; 0 for a zero vector, whose codes are all 0.
// Cost:   O(dim), a dozen passes.
double QuantiseOnGrid(const CodecKernels& kernels, const float* v, size_t dim, const Extent& extent,
                      uint32_t bits, uint8_t* codes);

}  // namespace tessera::index
