// Filters of calls: from their text to the rows of a view that pass.
//
// Threads: a ParsedFilter is immutable. A BoundFilter too, as long as its view and filter live.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/deadline.h"
#include "db/database.h"
#include "db/engine.h"
#include "db/filters/parsed_filters.h"
#include "db/read_view.h"
#include "query/filter/filter.h"
#include "query/filter/record_filter.h"
#include "query/row_filter.h"
#include "version/columns/match_finder.h"

namespace tessera::db {

// A path as filters write it. Errors: kInvalidArgument.
absl::StatusOr<query::FieldPath> ParsePathText(std::string_view text);

// A filter with what it matches in the lists of one vector field of a view.
class BoundFilter final : public query::RowFilter {
 public:
  // `filter` and `view` outlive it.
  // Errors: kInvalidArgument for a path that no point has, in a strict filter; those of
  //         version::FindMatches.
  static absl::StatusOr<std::unique_ptr<BoundFilter>> Bind(Engine& engine, const ReadView& view,
                                                           size_t field, const ParsedFilter& filter,
                                                           const StopCondition& stop);

  const query::IndexMatches* index() const override { return found_.matches.get(); }
  bool MatchesFresh(const query::FreshRowRef& row) const override {
    return filter_.fresh.Matches(*row.id, row.fields);
  }

  const version::FoundMatches& found() const { return found_; }
  const ParsedFilter& filter() const { return filter_; }
  double microseconds() const { return microseconds_; }  // that binding took
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  explicit BoundFilter(const ParsedFilter& filter) : filter_(filter) {}
  absl::Status CheckPaths(const FieldView& view);

  const ParsedFilter& filter_;
  version::FoundMatches found_;
  double microseconds_ = 0;
  std::vector<std::string> warnings_;
};

// What explain says of the filter alone.
void DescribeFilter(const query::SearchView& view, const BoundFilter& filter, Explain* explain);

// Points of the view that pass, with the vector field's index that it was bound for.
uint64_t CountMatches(const query::SearchView& view, const BoundFilter& filter);

}  // namespace tessera::db
