// Which rows of an index version match a filter, by its columns.
//
// Threads: free functions; any number at once.
// Cost:    what is in the match cache: a look-up. Else 3 .. 12 ns for 64 rows and condition, and a
//          read of the units of the filter's paths that are not in memory; then a pass over the
//          parts.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "base/deadline.h"
#include "query/columns/filter_program.h"
#include "query/filter/filter.h"
#include "query/row_filter.h"
#include "version/columns/match_cache.h"
#include "version/index_version.h"

namespace tessera::version {

// A filter made ready for any number of searches.
struct PreparedFilter {
  explicit PreparedFilter(const query::Filter& filter);  // any valid one

  query::Filter normal;
  std::string text;  // of `normal`
  query::FilterProgram program;
};

struct FindOptions {
  MatchCache* cache = nullptr;  // may be null
  base::Deadline deadline = base::Deadline::Never();
  const std::atomic<bool>* cancelled = nullptr;
};

struct FoundMatches {
  std::shared_ptr<const query::IndexMatches> matches;
  bool cached = false;
  uint64_t bytes_read = 0;
};

// Dead rows of the version's parts are among the matches.
// Errors: kDataLoss; kDeadlineExceeded; kCancelled; kResourceExhausted.
absl::StatusOr<FoundMatches> FindMatches(const IndexVersion& version, const PreparedFilter& filter,
                                         const FindOptions& options);

// Whether any row of the version may have the path. Cost: O(sets).
bool MayHavePath(const IndexVersion& version, std::string_view path_key);

}  // namespace tessera::version
