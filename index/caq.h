// Code-adjusted scalar quantisation of one vector.
//
// Threads: free functions.
// Source:  Li et al., "SAQ: Pushing the Limits of Vector Quantization through Code Adjustment and
//          Dimension Segmentation", SIGMOD 2026: CAQ.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::index {

// Quantises to `bits` per dimension on a uniform grid over +-max|v|, then moves single codes by one
// while that turns the grid point towards v, for at most `rounds` passes.
//
// Shapes: vector and codes [dim]; bits 1 .. 8. Code k stands for delta * (k - (2^bits - 1) / 2).
// Returns delta; 0 for a zero vector, whose codes are all 0.
// Cost:   O(rounds * dim).
double QuantiseAligned(const float* vector, size_t dim, uint32_t bits, int rounds, uint8_t* codes);

}  // namespace tessera::index
