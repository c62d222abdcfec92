// Kernels of head search and assignment, one table per instruction set.
//
// Integer results are equal in all tables bit for bit; so are the winners of arg_max_difference and
// select_below. Sums of floats differ by rounding only.
// Threads: any. Alignment: none required.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"

namespace tessera::index {

struct HeadKernels {
  base::CpuLevel level;

  // Position of the largest a[i] - b[i], the first of equals, and that difference in `*best`.
  // Requires n >= 1. NaN never wins, except that position 0 is the answer when all are NaN.
  uint32_t (*arg_max_difference)(const float* a, const float* b, size_t n, float* best);
};

// The table of exactly `level`; the CPU must support it.
const HeadKernels& HeadKernelsFor(base::CpuLevel level);
// The table of base::ActiveCpuLevel().
const HeadKernels& ActiveHeadKernels();

extern const HeadKernels kHeadKernelsScalar;
extern const HeadKernels kHeadKernelsAvx2;
extern const HeadKernels kHeadKernelsAvx512;

}  // namespace tessera::index
