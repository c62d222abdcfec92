// The queries of a calibration and their true neighbours.
//
// Threads: free functions; FindTruth uses several threads itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"

#include "base/types.h"
#include "query/hit.h"
#include "query/index_view.h"
#include "query/searcher.h"

namespace tessera::query {

// Held-out rows: each is a query that must not find itself.
struct CalibrationSample {
  size_t dim = 0;
  std::vector<float> vectors;  // [size() x dim]
  std::vector<base::RowId> rows;
  std::vector<std::vector<Hit>> truth;  // by FindTruth; best first, without the row itself

  size_t size() const { return rows.size(); }
  std::span<const float> vector(size_t i) const { return {&vectors[i * dim], dim}; }
};

// Takes the hit of `row` out and keeps the best `size_max` of the others.
void RemoveRow(base::RowId row, size_t size_max, std::vector<Hit>* hits);

// Draws up to `count` distinct live rows of the index and reads their vectors; fewer when there are
// not that many, or hardly any are live. The same index and seed give the same rows.
//
// Errors: as Searcher::Search.
absl::Status DrawSample(const SearchView& view, const SearchRequest& request, size_t count,
                        uint64_t seed, CalibrationSample* sample);

// Finds the `k` nearest live rows of the index for every row of the sample, without itself, in one
// pass over the raw plane.
//
// Errors: as Searcher::Search.
// Memory: about 50 k bytes per query and thread.
absl::Status FindTruth(const SearchView& view, const SearchRequest& request, size_t k,
                       uint32_t thread_count, CalibrationSample* sample);

}  // namespace tessera::query
