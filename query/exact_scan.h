// Compares every eligible row exactly with one or more queries.
//
// Raw units are taken from the page cache where they are, else read in portions at the cache's
// lowest priority.
//
// Threads: free functions; several may scan different parts of one view for the same queries, each
//          with its own targets.
#pragma once

#include <cstdint>
#include <span>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "query/raw_reader.h"
#include "query/search_context.h"
#include "query/top_hits.h"

namespace tessera::query {

// Rows first_slot .. first_slot + rows - 1 of a part; see index::RawUnitShape.
struct RawUnit {
  uint32_t part = 0;
  uint32_t first_slot = 0;
  uint32_t rows = 0;
  const std::byte* bytes = nullptr;
};

// Hands the raw units of those of parts [begin, end) that have eligible rows to `visit`, in any
// order. A unit is valid during the call only; rows that are not eligible are in it as well.
//
// Errors: as Searcher::Search.
absl::Status VisitRawUnits(const SearchContext& context, uint32_t begin, uint32_t end,
                           absl::FunctionRef<void(const RawUnit& unit)> visit);

// One query's share of a scan.
struct ExactTarget {
  const index::RowDistance* distance = nullptr;
  TopHits* hits = nullptr;
};

// Offers every eligible row of parts [begin, end) to every target. `context.distance` is not used.
//
// Errors: as Searcher::Search.
// Cost:   reads the raw plane once; rows x targets comparisons.
absl::Status ExactScanParts(const SearchContext& context, uint32_t begin, uint32_t end,
                            std::span<const ExactTarget> targets);

// Offers every eligible row of the index to the hits behind `raw`, which was begun for the context.
// Goes from match to match: lists without one are passed over, and only the units of matches are
// read. Pre: the search has a filter.
//
// Errors: as Searcher::Search.
// Cost:   a nanosecond a part, then one comparison a match.
absl::Status ExactScanMatches(const SearchContext& context, RawReader* raw);

// Offers every eligible fresh row; `note` is told each row's dissimilarity to the first target.
void ExactScanFresh(const SearchContext& context, std::span<const ExactTarget> targets,
                    absl::FunctionRef<void(float dissimilarity)> note);

}  // namespace tessera::query
