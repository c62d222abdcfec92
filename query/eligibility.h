// Which rows a search may return: the one place that list scanner, exact scan, fresh rows and
// calibration ask.
//
// Eligible are the live rows. What else decides about rows belongs here: a filter answers for a
// part of the index with the words of MaskOf, or at once when it knows that none or all of its rows
// match, and for fresh rows by evaluation.
//
// Threads: const member functions concurrently.
#pragma once

#include <cstdint>

#include "query/index_view.h"

namespace tessera::query {

class Eligibility {
 public:
  // `view` outlives it.
  explicit Eligibility(const SearchView& view);

  // Whether every row of the index is eligible: nobody needs a mask then.
  bool all() const { return all_; }
  // Eligible rows of the index.
  uint64_t count() const { return count_; }

  // Writes one word for each block of 64 rows of the part, bit i for row 64 * block + i, and
  // returns how many of its rows are eligible: 0 and part.rows allow for a shortcut. Bits of rows
  // that the part does not have are set. Shape: mask [index::BlockCount(part.rows)]. Cost: O(rows /
  // 64).
  uint32_t MaskOf(const ListPart& part, uint64_t* mask) const;
  // The number alone.
  uint32_t CountIn(const ListPart& part) const;
  bool Has(const ListPart& part, uint32_t slot) const;

  // Calls `visit` with every eligible fresh row, ascending.
  template <typename Visitor>
  void ForEachFresh(Visitor&& visit) const {
    view_.fresh.ForEach(visit);
  }

 private:
  const SearchView& view_;
  uint64_t count_ = 0;
  bool all_ = true;
};

}  // namespace tessera::query
