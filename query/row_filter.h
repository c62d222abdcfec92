// Which rows of a search view pass a filter, worked out before the search.
//
// Rows in lists: one bit for each position of the index version, for all of them or none. Working
// them out costs 3 .. 12 ns for 64 rows and condition, and what is worked out is kept for the next
// search with the filter. Doing it list by list as a search comes by would save that for a filter
// that is asked once; it loses everything that needs the whole: exact numbers, which lists have
// matches, an exact plan that goes from match to match.
//
// Threads: immutable.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "query/fresh_view.h"

namespace tessera::query {

// Matches in the blocks [begin_block, end_block): word i is of block begin_block + i. Bits of
// positions that no row has are 0.
struct MatchWords {
  uint32_t begin_block = 0;
  uint32_t end_block = 0;
  std::shared_ptr<const uint64_t> words;  // [end_block - begin_block]
};

// The matches of an index version, dead rows among them.
struct IndexMatches {
  std::vector<MatchWords> ranges;      // ascending, disjoint; blocks in none have no match
  uint64_t rows = 0;                   // that match
  std::vector<uint32_t> list_matches;  // per list
  uint32_t lists_eligible = 0;         // lists with a match

  // Writes the words of `count` blocks. Cost: O(count + log ranges).
  void Load(uint64_t first_block, uint32_t count, uint64_t* out) const;
};

class RowFilter {
 public:
  virtual ~RowFilter() = default;
  // Null when the view has no index.
  virtual const IndexMatches* index() const = 0;
  virtual bool MatchesFresh(const FreshRowRef& row) const = 0;
};

}  // namespace tessera::query
