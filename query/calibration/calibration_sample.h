// The queries of a calibration, and their true neighbours with their places in the index.
//
// Under L2 and cosine a query is a row of the collection, blind to itself. Under inner product it
// is the sum of two rows, blind to both: there queries usually come from another distribution than
// rows (users and items, a question and its answers), and single rows make far too easy ones.
//
// Threads: free functions; FindNeighbours uses several threads itself.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"

#include "base/types.h"
#include "query/index_view.h"
#include "query/search_context.h"
#include "query/searcher.h"

namespace tessera::query {

struct Neighbour {
  float dissimilarity = 0;
  RowPlace place;
};

struct CalibrationQuery {
  std::vector<float> vector;             // [dim] as a user would send it
  std::array<base::RowId, 2> sources{};  // the rows it is made of; twice the same if it is one
  std::vector<Neighbour> neighbours;     // by FindNeighbours; nearest first, without the sources

  bool MadeOf(base::RowId row) const { return row == sources[0] || row == sources[1]; }
};

// Draws up to `count` queries from the eligible rows of the index; fewer when there are not that
// many, or hardly any are eligible. The same index and seed give the same queries.
//
// Errors: as Searcher::Search.
absl::Status DrawQueries(const SearchView& view, const SearchRequest& request, size_t count,
                         uint64_t seed, std::vector<CalibrationQuery>* queries);

// Finds the `count` nearest eligible rows of the index for every query, in one pass over the raw
// plane.
//
// Errors: as Searcher::Search.
// Memory: 12 * count bytes per query and thread.
absl::Status FindNeighbours(const SearchView& view, const SearchRequest& request, size_t count,
                            uint32_t thread_count, std::span<CalibrationQuery> queries);

}  // namespace tessera::query
