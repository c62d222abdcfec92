// Scan of 4-bit product codes: the sum of a query's table over 64 rows at a time.
//
// A block is its rows' one-byte factor A (64 bytes) and then one line of 64 bytes for every pair of
// sub-quantisers; byte i of a line belongs to row i: the code of the pair's first sub-quantiser in
// the low, of the second in the high half. So two byte shuffles look a pair up for all 64 rows, and
// there is one layout for every machine. A row passes iff
//
//   sum > base + A * coef / 256      (the term rounded half up, 16-bit integers).
//
// Results are equal on every level, bit for bit.
//
// Threads: pure functions.
// Source:  Andre, Kermarrec, Le Scouarnec, "Cache locality is not enough", VLDB 2015.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"

namespace tessera::index {

inline constexpr size_t kPqScanRows = 64;
inline constexpr size_t kPqScanEntries = 16;

constexpr size_t PqScanBlockBytes(size_t pairs) {
  return kPqScanRows * (1 + pairs);
}

struct PqScanArgs {
  // [2 * pairs x 16]; the two largest entries of a pair sum to at most 255, those of all pairs to
  // at most 32767.
  const uint8_t* table = nullptr;
  size_t pairs = 0;
  const std::byte* blocks = nullptr;
  size_t block_count = 0;
  const uint64_t* eligible = nullptr;  // [block_count]
  // |coef| + |base| <= 32767, so that nothing wraps.
  int16_t coef = 0;
  int16_t base = -1;
  const std::byte* prefetch = nullptr;  // same shape, read soon; may be null
  size_t prefetch_blocks = 0;
};

struct PqScanKernels {
  base::CpuLevel level;
  // passed [block_count]: the eligible rows that pass. sums [block_count x 64]: of the rows of
  // every block in which any row passes; other blocks' entries are left as they were.
  void (*scan)(const PqScanArgs& args, uint64_t* passed, uint16_t* sums);
};

extern const PqScanKernels kPqScanScalar;
extern const PqScanKernels kPqScanAvx2;
extern const PqScanKernels kPqScanAvx512;

const PqScanKernels& PqScanFor(base::CpuLevel level);
const PqScanKernels& ActivePqScan();  // take it once per query, not per block

}  // namespace tessera::index
