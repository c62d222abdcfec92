// Columns of keys under ranges, 64 rows at a time.
//
// Threads: free functions without shared state.
#pragma once

#include <cstdint>

#include "query/columns/key_ranges.h"
#include "query/columns/slice_kernels.h"
#include "query/columns/unit.h"

namespace tessera::query {

// Sets in `out` the rows that have a key within the ranges and are candidates.
// Pre: a section of keys, of a unit of `rows` rows; candidates are some of those.
// Cost: O(slices) words for 64 rows and range; the slices are read most significant first, once for
//       what ranges have in common, and no further than a candidate is undecided. Of many ranges a
//       transposition of 64 rows, and a look-up for each candidate.
void MarkKeys(const Section& section, uint32_t rows, const KeyRanges& ranges,
              const uint64_t* candidates, uint64_t* out);

// The words of a set of rows, OR-ed to `out`. Pre: candidates are some of `rows` rows.
void MarkRows(const Section& section, uint32_t rows, const uint64_t* candidates, uint64_t* out);

// The tree of ranges of keys below 2^width. Pre: ascending, disjoint, none side by side.
// Cost: O(ranges x width).
BitTree TreeOf(const KeyRanges& ranges, unsigned width);

// The keys of the 64 rows of a word of a column, and which of them have one.
uint64_t LoadKeys(const Section& section, uint32_t rows, uint32_t word, uint64_t* keys);

}  // namespace tessera::query
