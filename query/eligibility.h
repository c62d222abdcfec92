// Which rows a search may return: the one place that list scanner, exact scan, fresh rows and
// calibration ask.
//
// Eligible are the live rows that pass the search's filter, if it has one.
//
// Threads: const member functions concurrently.
#pragma once

#include <cstdint>

#include "query/index_view.h"
#include "query/row_filter.h"

namespace tessera::query {

class Eligibility {
 public:
  // `view` and `filter` outlive it; null: no filter.
  // Pre: the filter was worked out for the view's index.
  explicit Eligibility(const SearchView& view, const RowFilter* filter = nullptr);

  // Whether every row of the index is eligible: nobody needs a mask then.
  bool all() const { return all_; }
  // Eligible rows of the index; with a filter, at most so many: its dead matches are counted.
  uint64_t count() const { return count_; }
  // Whether there is a filter, whose matches in the index are known.
  bool filtered() const { return matches_ != nullptr; }
  // Lists that may have eligible rows.
  uint32_t lists() const {
    if (matches_ != nullptr) return matches_->lists_eligible;
    return view_.index == nullptr ? 0 : view_.index->list_count();
  }
  // Whether the list may have eligible rows. Cost: O(1).
  bool MayHave(uint32_t list) const {
    return matches_ == nullptr || matches_->list_matches[list] > 0;
  }

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
    if (filter_ == nullptr) return view_.fresh.ForEach(visit);
    view_.fresh.ForEach([&](const FreshRowRef& row) {
      if (filter_->MatchesFresh(row)) visit(row);
    });
  }

 private:
  const SearchView& view_;
  const RowFilter* const filter_;
  const IndexMatches* matches_ = nullptr;  // null: every live row of the index is eligible
  uint64_t count_ = 0;
  bool all_ = true;
};

}  // namespace tessera::query
