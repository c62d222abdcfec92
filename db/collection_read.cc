// Reads: each takes the current view once and looks at nothing else.
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "db/collection.h"
#include "db/filters/filtering.h"
#include "db/filters/matching_points.h"
#include "db/point_reader.h"
#include "db/validate.h"
#include "query/batch.h"
#include "query/plan.h"
#include "query/searcher.h"

namespace tessera::db {
namespace {

using storage::Table;

query::SearchGoal GoalOf(const SearchParams& params) {
  query::SearchGoal goal;
  goal.limit = params.limit;
  goal.recall_target = params.recall_target != 0 ? params.recall_target : kDefaultRecall;
  goal.exact = params.exact;
  goal.nprobe = params.nprobe;
  goal.oversampling = params.oversampling;
  if (params.score_threshold.has_value()) goal.dissimilarity_max = -*params.score_threshold;
  goal.deadline = params.deadline;
  goal.cancelled = params.cancelled;
  return goal;
}

StopCondition StopOf(const SearchParams& params) {
  return {.deadline = params.deadline, .cancelled = params.cancelled};
}

query::FilterPlan PlanOf(SearchPlan plan) {
  switch (plan) {
    case SearchPlan::kExact:
      return query::FilterPlan::kExact;
    case SearchPlan::kProbe:
      return query::FilterPlan::kProbe;
    case SearchPlan::kAuto:
      break;
  }
  return query::FilterPlan::kAuto;
}

Explain ExplainOf(const query::SearchView& view, const query::SearchRequest& request,
                  const query::SearchStats& stats, const BoundFilter* filter) {
  Explain explain;
  if (filter != nullptr) DescribeFilter(view, *filter, &explain);
  explain.plan = request.exact ? SearchPlan::kExact : SearchPlan::kProbe;
  explain.lists = view.index == nullptr ? 0 : view.index->list_count();
  if (filter == nullptr) explain.lists_eligible = explain.lists;
  if (filter != nullptr && view.index != nullptr) {
    const query::PlanPrices& prices = request.prices;
    explain.prices = {
        {SearchPlan::kExact, prices.exact_us, prices.chosen == query::FilterPlan::kExact},
        {SearchPlan::kProbe, prices.probe_us, prices.chosen == query::FilterPlan::kProbe}};
    explain.estimated_rows = prices.matches;
  }
  explain.lists_probed = stats.lists_probed;
  explain.blocks = stats.blocks;
  explain.blocks_masked = stats.blocks_masked;
  explain.codes_scanned = stats.codes_scanned;
  explain.survivors = stats.survivors;
  explain.reranked = stats.reranked;
  explain.fresh_rows = view.fresh.live_count();
  explain.bytes_read += stats.bytes_read;
  explain.estimated_recall = request.settings.recall;
  return explain;
}

absl::Status TooMuchAsked(std::string_view what, size_t fitting, Projection with) {
  return absl::OutOfRangeError(absl::StrCat("the payloads and vectors of the first ", fitting, " ",
                                            base::Sv(what), " fit into ", with.bytes_max,
                                            " bytes, the next one does not; ask for fewer"));
}

}  // namespace

absl::StatusOr<std::vector<StoredPoint>> StoredCollection::Get(std::span<const base::PointId> ids,
                                                               Projection with) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ReadView> view, LiveView());
  const PointReader reader(engine_, record_, *view);
  TESSERA_ASSIGN_OR_RETURN(const std::vector<std::optional<base::RowId>> found,
                           reader.FindRows(ids));
  std::vector<base::RowId> rows;
  for (const std::optional<base::RowId>& row : found) {
    if (row.has_value()) rows.push_back(*row);
  }
  TESSERA_ASSIGN_OR_RETURN(std::vector<StoredPoint> points, reader.Read(rows, with));
  if (points.size() < rows.size()) return TooMuchAsked("points", points.size(), with);
  return points;
}

absl::StatusOr<ScrollPage> StoredCollection::ScrollWhere(const ScrollParams& params) {
  if (params.limit == 0 || params.limit > base::kLimitMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("limit is ", params.limit, ", must be 1 .. ", base::kLimitMax));
  }
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ParsedFilter> filter,
                           engine_.filters.Parse(params.filter));
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ReadView> view, LiveView());
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<BoundFilter> bound,
                           BindFilter(*view, 0, filter.get(), params.stop));
  ScrollPage page;
  if (bound != nullptr) page.warnings = bound->warnings();
  std::vector<base::RowId> rows;
  MatchingPoints points(engine_, record_, *view, bound.get(), params.stop);
  TESSERA_RETURN_IF_ERROR(points.Seek(params.offset));
  while (true) {
    TESSERA_ASSIGN_OR_RETURN(const std::optional<OldRow> point, points.Next());
    if (!point.has_value()) break;
    if (rows.size() == params.limit) {
      page.next_offset = point->id;
      break;
    }
    rows.push_back(point->row);
  }
  const PointReader reader(engine_, record_, *view);
  TESSERA_ASSIGN_OR_RETURN(page.points, reader.Read(rows, params.with));
  if (page.points.size() < rows.size()) {
    const size_t next = page.points.size();
    TESSERA_ASSIGN_OR_RETURN(const std::vector<StoredPoint> first,
                             reader.Read(std::span(rows).subspan(next, 1), {}));
    page.next_offset = first.front().id;
  }
  return page;
}

absl::StatusOr<SearchResult> StoredCollection::Search(std::span<const float> query,
                                                      const SearchParams& params) {
  TESSERA_RETURN_IF_ERROR(ValidateSearch(schema(), query, params));
  TESSERA_ASSIGN_OR_RETURN(const size_t field, FindField(schema(), params.field));
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ParsedFilter> filter,
                           engine_.filters.Parse(params.filter));
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ReadView> view, LiveView());
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<BoundFilter> bound,
                           BindFilter(*view, field, filter.get(), StopOf(params)));
  return SearchIn(*view, field, query, params, bound.get());
}

absl::Status StoredCollection::SearchBatch(std::span<const float> queries,
                                           const SearchParams& params, const BatchSink& sink) {
  TESSERA_ASSIGN_OR_RETURN(const size_t field, FindField(schema(), params.field));
  const size_t dim = schema().vectors[field].dim;
  if (queries.size() % dim != 0) {
    return absl::InvalidArgumentError(absl::StrCat("the queries have ", queries.size(),
                                                   " components in all, not a multiple of ", dim));
  }
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ParsedFilter> filter,
                           engine_.filters.Parse(params.filter));
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ReadView> view, LiveView());
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<BoundFilter> bound,
                           BindFilter(*view, field, filter.get(), StopOf(params)));
  // Payloads are of any length: one search at a time, or each thread might hold a whole reply.
  const bool serial = params.with.payload;
  const size_t count = queries.size() / dim;
  return query::RunBatch(*engine_.helpers, count, serial, [&](size_t i) -> absl::Status {
    const std::span<const float> query = queries.subspan(i * dim, dim);
    TESSERA_RETURN_IF_ERROR(ValidateSearch(schema(), query, params));
    TESSERA_ASSIGN_OR_RETURN(SearchResult result,
                             SearchIn(*view, field, query, params, bound.get()));
    return sink(i, std::move(result));
  });
}

absl::StatusOr<SearchResult> StoredCollection::SearchIn(const ReadView& view, size_t field,
                                                        std::span<const float> query,
                                                        const SearchParams& params,
                                                        const BoundFilter* filter) {
  const auto start = std::chrono::steady_clock::now();
  const query::SearchView& searched = view.fields[field].search;
  query::SearchGoal goal = GoalOf(params);
  goal.filter = filter;
  goal.plan = PlanOf(params.plan);
  const query::SearchRequest request = query::Plan(goal, searched);
  std::vector<query::Hit> found;
  query::SearchStats stats;
  {
    const SearcherPool::Loan searcher = engine_.searchers.Borrow();
    TESSERA_RETURN_IF_ERROR(searcher->Search(searched, query, request, &found, &stats));
  }
  SearchResult result;
  const auto searched_until = std::chrono::steady_clock::now();
  result.stats = {.estimated_recall = request.settings.recall,
                  .lists_probed = stats.lists_probed,
                  .codes_scanned = stats.codes_scanned,
                  .survivors = stats.survivors,
                  .reranked = stats.reranked,
                  .bytes_read = stats.bytes_read};
  if (filter != nullptr) result.warnings = filter->warnings();
  if (params.explain) {
    result.explain = ExplainOf(searched, request, stats, filter);
    const std::chrono::duration<double, std::micro> took = searched_until - start;
    result.explain->stages.push_back({.stage = "search", .microseconds = took.count()});
  }
  result.hits.resize(found.size());
  std::vector<size_t> incomplete;  // hits that need the row store
  std::vector<base::RowId> rows;
  for (size_t i = 0; i < found.size(); ++i) {
    Hit& hit = result.hits[i];
    hit.distance = found[i].dissimilarity;
    hit.score = 0 - hit.distance;
    hit.version = found[i].version;
    if (found[i].id.resolved()) hit.id = found[i].id.ToPointId();
    if (params.with.payload || params.with.vectors || !found[i].id.resolved()) {
      incomplete.push_back(i);
      rows.push_back(found[i].row);
    }
  }
  const auto end = [&start, &result] {
    result.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  if (incomplete.empty()) {
    end();
    return result;
  }
  const PointReader reader(engine_, record_, view);
  TESSERA_ASSIGN_OR_RETURN(std::vector<StoredPoint> points, reader.Read(rows, params.with));
  if (points.size() < rows.size()) return TooMuchAsked("hits", points.size(), params.with);
  for (size_t i = 0; i < incomplete.size(); ++i) {
    Hit& hit = result.hits[incomplete[i]];
    hit.id = std::move(points[i].id);
    hit.payload = std::move(points[i].payload);
    hit.payload_json = std::move(points[i].payload_json);
    hit.vectors = std::move(points[i].vectors);
  }
  end();
  return result;
}

}  // namespace tessera::db
