// Many searches from several threads, with the time of each.
//
// Threads: RunQueries from one; it starts its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "api/client.h"
#include "base/types.h"
#include "db/database.h"

namespace tessera::api {

// Rows as a file has them, in a quarter of the memory of floats where they are bytes.
struct QuerySet {
  uint32_t dim = 0;
  base::ElementType type = base::ElementType::kF32;
  std::string rows;  // row-major

  size_t count() const { return rows.size() / row_bytes(); }
  size_t row_bytes() const { return dim * base::ElementBytes(type); }
  std::vector<float> row(size_t i) const;
};

struct SearchTimes {
  double seconds = 0;               // wall time of all
  std::vector<float> latencies_us;  // one per query, ascending
  uint64_t memory_bytes_max = 0;    // of the process that holds the data, sampled

  // Those of another run, after it; latencies need a Sort then.
  void Add(SearchTimes other);
  void Sort();
};

// Called with the query's position, each position once; by several threads at the same time.
using SearchSink = std::function<void(size_t query, db::SearchResult result)>;

// Each thread takes the next query and waits for its answer: `threads` searches in flight. The
// first query is the `first` of a file, for messages. Errors: the first one; the others then stop.
absl::StatusOr<SearchTimes> RunQueries(Client& client, const std::string& collection,
                                       const QuerySet& queries, uint64_t first,
                                       const db::SearchParams& params, int threads,
                                       const SearchSink& sink);

// The value that `part` of `ascending` does not exceed (nearest rank); 0 when empty.
float Percentile(std::span<const float> ascending, double part);

}  // namespace tessera::api
