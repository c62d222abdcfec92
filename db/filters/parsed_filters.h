// Filters of calls, parsed and made ready.
//
// Threads: a ParsedFilter is immutable.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"

#include "base/mutex.h"
#include "db/database.h"
#include "query/filter/record_filter.h"
#include "version/columns/match_finder.h"

namespace tessera::db {

// Made once for a call, used by all of its searches.
struct ParsedFilter {
  explicit ParsedFilter(const query::Filter& filter) : lists(filter), fresh(lists.normal) {}

  version::PreparedFilter lists;
  query::RecordFilter fresh;
  bool strict = false;
};

// The filters that were parsed last, by their text and parameters: parsing an IN of a thousand
// constants costs ten times the search.
//
// Threads: every call from any thread.
class ParsedFilters {
 public:
  // Null for no filter.
  // Errors: kInvalidArgument with the position, what is there and what was expected.
  absl::StatusOr<std::shared_ptr<const ParsedFilter>> Parse(const std::optional<FilterText>& text);

 private:
  // Each of at most kTextBytesMax bytes: a megabyte or two in all, as filters.
  static constexpr size_t kFiltersMax = 32;
  static constexpr size_t kTextBytesMax = size_t{16} << 10;

  struct Kept {
    std::string key;
    std::shared_ptr<const ParsedFilter> filter;
  };

  base::Mutex mu_;
  std::list<Kept> kept_ ABSL_GUARDED_BY(mu_);  // the one used last first
};

}  // namespace tessera::db
