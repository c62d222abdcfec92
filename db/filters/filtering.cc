#include "db/filters/filtering.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "query/eligibility.h"
#include "query/filter/field_record.h"
#include "query/filter/parser.h"

namespace tessera::db {

namespace {

bool HasPath(std::string_view record, std::string_view key) {
  query::FieldRecordReader reader(record);
  std::string_view at;
  std::string_view values;
  while (reader.Next(&at, &values)) {
    if (at == key) return true;
  }
  return false;
}

}  // namespace

absl::Status StopCondition::Check() const {
  if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) {
    return absl::CancelledError("the call was cancelled");
  }
  if (deadline.Passed()) return absl::DeadlineExceededError("the deadline passed");
  return absl::OkStatus();
}

absl::StatusOr<query::FieldPath> ParsePathText(std::string_view text) {
  const absl::string_view path(text.data(), text.size());
  const absl::StatusOr<query::Filter> filter =
      query::ParseFilter(absl::StrCat("EXISTS(", path, ")"));
  const auto* exists = filter.ok() ? std::get_if<query::Exists>(&filter->node) : nullptr;
  if (exists != nullptr) return exists->path;
  return absl::InvalidArgumentError(
      absl::StrCat("\"", path, "\" is no path: names with dots between them, as in a filter"));
}

absl::StatusOr<std::unique_ptr<BoundFilter>> BoundFilter::Bind(Engine& engine, const ReadView& view,
                                                               size_t field,
                                                               const ParsedFilter& filter,
                                                               const StopCondition& stop) {
  const auto start = std::chrono::steady_clock::now();
  auto bound = std::unique_ptr<BoundFilter>(new BoundFilter(filter));
  const FieldView& searched = view.fields[field];
  if (searched.index != nullptr) {
    TESSERA_ASSIGN_OR_RETURN(bound->found_, version::FindMatches(*searched.index, filter.lists,
                                                                 {.cache = engine.matches.get(),
                                                                  .deadline = stop.deadline,
                                                                  .cancelled = stop.cancelled}));
  }
  TESSERA_RETURN_IF_ERROR(bound->CheckPaths(searched));
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
  bound->microseconds_ = took.count();
  return bound;
}

// That a path has no point is most often a slip of the pen.
absl::Status BoundFilter::CheckPaths(const FieldView& view) {
  for (const std::string& key : filter_.lists.program.paths()) {
    if (view.index != nullptr && version::MayHavePath(*view.index, key)) continue;
    bool seen = false;
    view.search.fresh.ForEach(
        [&](const query::FreshRowRef& row) { seen = seen || HasPath(row.fields, key); });
    if (seen) continue;
    std::string what = absl::StrCat("no point has the path ", query::ToString(query::PathOf(key)),
                                    ", which the filter names");
    if (filter_.strict) return absl::InvalidArgumentError(what);
    warnings_.push_back(std::move(what));
  }
  return absl::OkStatus();
}

void DescribeFilter(const query::SearchView& view, const BoundFilter& filter, Explain* explain) {
  explain->filter = filter.filter().lists.text;
  if (view.index != nullptr) {
    explain->lists = view.index->list_count();
    explain->lists_eligible = filter.index()->lists_eligible;
    explain->matching_rows = filter.index()->rows;
    explain->filter_cached = filter.found().cached;
    explain->bytes_read += filter.found().bytes_read;
  }
  explain->fresh_rows = view.fresh.live_count();
  explain->stages.push_back({.stage = "filter", .microseconds = filter.microseconds()});
}

uint64_t CountMatches(const query::SearchView& view, const BoundFilter& filter) {
  const query::Eligibility eligible(view, &filter);
  uint64_t count = 0;
  if (view.index != nullptr) {
    for (const query::ListPart& part : view.index->parts) {
      if (eligible.MayHave(part.list)) count += eligible.CountIn(part);
    }
  }
  eligible.ForEachFresh([&](const query::FreshRowRef&) { ++count; });
  return count;
}

}  // namespace tessera::db
