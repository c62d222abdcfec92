// Fast scan of 1-bit codes: the sum of a query table over 64 rows at a time.
//
// A block is 64 rows in `lines` lines of 64 bytes; byte i of every line belongs to row i, so one
// byte permute looks a line up for all 64 rows. A line holds 8 code bits a row. Three lines make a
// triple of 24 bits: the low 6 bits of each byte are one look-up group, and the high 2 bits of the
// three together the fourth. A tail of one or two lines has a last group of 2 or 4 bits. Six bits
// are what AVX-512 VBMI permutes over; AVX2 looks the two halves of a group up, the scalar code
// indexes the 64 entries. So there is one layout on disk for every machine.
//
//   look-up   4t     4t+1   4t+2   4t+3                       of triple t (dims 24t .. 24t+23)
//   bits      0..5   6..11  12..17 18..23 = {line0, line1, line2} bits 6..7
//
// A block begins with its rows' two one-byte factors (A then B, 64 bytes each); a row passes iff
//   sum > base + A * coef_a / 256 + B * coef_b / 256      (each term rounded, 16-bit integers).
//
// Threads: pure functions.
// Source:  Andre, Kermarrec, Le Scouarnec, "Cache locality is not enough", VLDB 2015, for the idea;
//          the 6-bit grouping is ours.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/cpu.h"

namespace tessera::index {

inline constexpr size_t kFastScanRows = 64;
inline constexpr size_t kFastScanLineBytes = 64;
inline constexpr size_t kFastScanFactorBytes = 2 * kFastScanRows;
inline constexpr size_t kFastScanGroupBits = 6;
// Bytes of table per look-up, in every instruction set's own form.
inline constexpr size_t kFastScanEntryBytes = 64;
// Look-ups whose sum stays in a byte: three triples.
inline constexpr size_t kFastScanLookupsPerWiden = 12;

constexpr size_t FastScanLines(size_t bits) {
  return (bits + 7) / 8;
}
constexpr size_t FastScanLookups(size_t lines) {
  return lines + (lines + 2) / 3;
}
constexpr size_t FastScanBlockBytes(size_t lines) {
  return kFastScanFactorBytes + lines * kFastScanLineBytes;
}

// Where a code bit lives.
struct FastScanPlace {
  uint32_t line;      // of the block
  uint32_t bit;       // of the row's byte in that line
  uint32_t lookup;    // table group
  uint32_t position;  // bit of the group's index, 0 .. 5
};
FastScanPlace PlaceOfBit(size_t bit, size_t lines);

struct FastScanThreshold {
  // |coef_a| + |coef_b| <= 32767, so that no sum wraps; base is any.
  int16_t coef_a = 0;
  int16_t coef_b = 0;
  int16_t base = -1;  // with the coefficients 0: every row passes
};

struct FastScanArgs {
  const uint8_t* table = nullptr;  // from build_table of the same kernels
  size_t lines = 0;
  const std::byte* blocks = nullptr;
  size_t block_count = 0;
  const uint64_t* eligible = nullptr;  // [block_count]
  FastScanThreshold threshold;
  const std::byte* prefetch = nullptr;  // same shape, read soon; may be null
  size_t prefetch_blocks = 0;
};

struct FastScanKernels {
  base::CpuLevel level;
  // Makes the table from the weights of cleared and set bits, [FastScanLookups(lines) * 6] each, in
  // order of look-up and position; places without a bit weigh 0. `table` has
  // FastScanLookups(lines) * kFastScanEntryBytes bytes, 64-byte aligned.
  // Pre: the larger weights of any twelve look-ups in a row that start at a multiple of twelve sum
  //      to at most 255, all of them to at most 32767.
  void (*build_table)(const uint8_t* cleared, const uint8_t* set, size_t lines, uint8_t* table);
  // passed [block_count]: the rows that pass. sums [block_count x 64]: of the rows of every block
  // in which any row passes; other blocks' entries are left as they were.
  void (*scan)(const FastScanArgs& args, uint64_t* passed, uint16_t* sums);
};

extern const FastScanKernels kFastScanScalar;
extern const FastScanKernels kFastScanAvx2;
extern const FastScanKernels kFastScanAvx512;

const FastScanKernels& FastScanFor(base::CpuLevel level);
const FastScanKernels& ActiveFastScan();  // take it once per query, not per block

}  // namespace tessera::index
