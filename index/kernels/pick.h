// The choice among the tables of one kernel interface, one per instruction set.
//
// Threads: any.
#pragma once

#include "base/cpu.h"

namespace tessera::index {

// The table of exactly `level`. Pre: the CPU supports it.
template <typename Table>
const Table& PickKernels(base::CpuLevel level, const Table& scalar, const Table& avx2,
                         const Table& avx512) {
  switch (level) {
    case base::CpuLevel::kAvx512:
      return avx512;
    case base::CpuLevel::kAvx2:
      return avx2;
    case base::CpuLevel::kScalar:
      break;
  }
  return scalar;
}

}  // namespace tessera::index
