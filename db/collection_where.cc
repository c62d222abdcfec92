// Calls that concern the points that pass a filter: counts, facets, changes.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "db/collection.h"
#include "db/filters/facet_counter.h"
#include "db/filters/filtering.h"
#include "db/filters/matching_points.h"

namespace tessera::db {
namespace {

// Points that a change by filter writes at a time.
constexpr size_t kChangePortion = 4096;
// And the memory of their vectors at most, as a part of what fresh rows may take.
constexpr uint64_t kChangeShare = 8;

}  // namespace

absl::StatusOr<std::unique_ptr<BoundFilter>> StoredCollection::BindFilter(
    const ReadView& view, size_t field, const ParsedFilter* filter, const StopCondition& stop) {
  if (filter == nullptr) return nullptr;
  return BoundFilter::Bind(engine_, view, field, *filter, stop);
}

absl::StatusOr<CountResult> StoredCollection::CountWhere(const CountParams& params) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ParsedFilter> filter,
                           engine_.filters.Parse(params.filter));
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ReadView> view, LiveView());
  CountResult result;
  if (filter == nullptr) {
    result.count = view->point_count;
    if (params.explain) result.explain.emplace();
    return result;
  }
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<BoundFilter> bound,
                           BindFilter(*view, 0, filter.get(), params.stop));
  const query::SearchView& searched = view->fields[0].search;
  result.count = CountMatches(searched, *bound);
  result.warnings = bound->warnings();
  if (params.explain) DescribeFilter(searched, *bound, &result.explain.emplace());
  return result;
}

absl::StatusOr<FacetResult> StoredCollection::Facet(const FacetParams& params) {
  if (params.limit == 0 || params.limit > base::kLimitMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("limit is ", params.limit, ", must be 1 .. ", base::kLimitMax));
  }
  TESSERA_ASSIGN_OR_RETURN(const query::FieldPath path, ParsePathText(params.path));
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ParsedFilter> filter,
                           engine_.filters.Parse(params.filter));
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ReadView> view, LiveView());
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<BoundFilter> bound,
                           BindFilter(*view, 0, filter.get(), params.stop));
  FacetCounter counter(engine_, view->fields[0], bound.get(), params.stop);
  TESSERA_RETURN_IF_ERROR(counter.Count(path));
  FacetResult result = counter.Take(params.limit);
  if (bound != nullptr) result.warnings = bound->warnings();
  return result;
}

// The points are found in one view; a portion then changes those of its rows that are still there:
// a row never changes, so they still pass.
absl::StatusOr<ChangeResult> StoredCollection::ChangeWhere(
    const FilterText& text, size_t portion,
    absl::FunctionRef<absl::StatusOr<uint64_t>(std::span<const base::PointId> ids,
                                               std::span<const base::RowId> rows)>
        change) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ParsedFilter> filter,
                           engine_.filters.Parse(text));
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ReadView> view, LiveView());
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<BoundFilter> bound,
                           BindFilter(*view, 0, filter.get(), {}));
  ChangeResult result;
  result.warnings = bound->warnings();
  MatchingPoints points(engine_, record_, *view, bound.get());
  TESSERA_RETURN_IF_ERROR(points.Seek(std::nullopt));
  std::vector<base::PointId> ids;
  std::vector<base::RowId> rows;
  for (bool more = true; more;) {
    TESSERA_ASSIGN_OR_RETURN(std::optional<OldRow> point, points.Next());
    more = point.has_value();
    if (more) {
      ids.push_back(std::move(point->id));
      rows.push_back(point->row);
    }
    if (ids.empty() || (more && ids.size() < portion)) continue;
    TESSERA_ASSIGN_OR_RETURN(const uint64_t changed, change(ids, rows));
    result.points += changed;
    ids.clear();
    rows.clear();
  }
  return result;
}

absl::StatusOr<ChangeResult> StoredCollection::DeleteWhere(const FilterText& filter, Ack ack) {
  TESSERA_RETURN_IF_ERROR(engine_.CheckWritable());
  return ChangeWhere(filter, kChangePortion,
                     [&](std::span<const base::PointId> ids, std::span<const base::RowId> rows) {
                       return DeleteRows(ids, rows, ack);
                     });
}

absl::StatusOr<ChangeResult> StoredCollection::SetPayloadWhere(const FilterText& filter,
                                                               const base::Value& payload,
                                                               Ack ack) {
  TESSERA_RETURN_IF_ERROR(engine_.CheckWritable());
  const uint64_t most = engine_.fresh->bytes_max() / kChangeShare / core_.FreshBytes(1, 0);
  size_t portion = std::clamp<size_t>(most, 1, kChangePortion);
  return ChangeWhere(
      filter, portion,
      [&](std::span<const base::PointId> ids,
          std::span<const base::RowId> rows) -> absl::StatusOr<uint64_t> {
        // Payloads may be large: then fewer at a time.
        absl::StatusOr<uint64_t> changed = SetPayloadOfRows(ids, rows, payload, ack);
        if (changed.ok() || !absl::IsResourceExhausted(changed.status()) || ids.size() == 1) {
          return changed;
        }
        uint64_t sum = 0;
        for (size_t i = 0; i < ids.size(); ++i) {
          TESSERA_ASSIGN_OR_RETURN(
              const uint64_t one,
              SetPayloadOfRows(ids.subspan(i, 1), rows.subspan(i, 1), payload, ack));
          sum += one;
        }
        return sum;
      });
}

}  // namespace tessera::db
