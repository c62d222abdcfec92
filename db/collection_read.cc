// Reads: each takes the current view once and looks at nothing else.
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "db/collection.h"
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

absl::Status TooMuchAsked(std::string_view what, size_t fitting, Projection with) {
  return absl::OutOfRangeError(
      absl::StrCat("the payloads and vectors of the first ", fitting, " ", base::Sv(what),
                   " fit into ", with.bytes_max, " bytes, the next one does not; ask for fewer"));
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
  const auto& [offset, limit, filter, with] = params;
  if (limit == 0 || limit > base::kLimitMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("limit is ", limit, ", must be 1 .. ", base::kLimitMax));
  }
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ReadView> view, LiveView());
  const std::string prefix = UidKey(record_.uid);
  const auto it = engine_.rows->NewIterator(Table::kIds, prefix, view->rows.get());
  if (offset.has_value()) it->Seek(IdKey(record_.uid, *offset));
  ScrollPage page;
  std::vector<base::RowId> rows;
  for (; it->Valid(); it->Next()) {
    if (rows.size() == limit) {
      TESSERA_ASSIGN_OR_RETURN(page.next_offset,
                               base::PointId::DecodeKey(it->key().substr(prefix.size())));
      break;
    }
    TESSERA_ASSIGN_OR_RETURN(const base::RowId row, DecodeRow(it->value()));
    rows.push_back(row);
  }
  TESSERA_RETURN_IF_ERROR(it->status());
  const PointReader reader(engine_, record_, *view);
  TESSERA_ASSIGN_OR_RETURN(page.points, reader.Read(rows, with));
  if (page.points.size() < rows.size()) {
    const size_t next = page.points.size();
    TESSERA_ASSIGN_OR_RETURN(const std::vector<StoredPoint> first,
                             reader.Read(std::span(rows).subspan(next, 1), {}));
    page.next_offset = first.front().id;
  }
  return page;
}

absl::StatusOr<CountResult> StoredCollection::CountWhere(const CountParams&) {
  return absl::UnimplementedError("count");
}
absl::StatusOr<FacetResult> StoredCollection::Facet(const FacetParams&) {
  return absl::UnimplementedError("facet");
}
absl::StatusOr<ChangeResult> StoredCollection::DeleteWhere(const FilterText&, Ack) {
  return absl::UnimplementedError("delete");
}
absl::StatusOr<ChangeResult> StoredCollection::SetPayloadWhere(const FilterText&,
                                                               const base::Value&, Ack) {
  return absl::UnimplementedError("set");
}

absl::StatusOr<SearchResult> StoredCollection::Search(std::span<const float> query,
                                                      const SearchParams& params) {
  TESSERA_RETURN_IF_ERROR(ValidateSearch(schema(), query, params));
  TESSERA_ASSIGN_OR_RETURN(const size_t field, FindField(schema(), params.field));
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ReadView> view, LiveView());
  return SearchIn(*view, field, query, params);
}

absl::Status StoredCollection::SearchBatch(std::span<const float> queries,
                                           const SearchParams& params, const BatchSink& sink) {
  TESSERA_ASSIGN_OR_RETURN(const size_t field, FindField(schema(), params.field));
  const size_t dim = schema().vectors[field].dim;
  if (queries.size() % dim != 0) {
    return absl::InvalidArgumentError(absl::StrCat("the queries have ", queries.size(),
                                                   " components in all, not a multiple of ", dim));
  }
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ReadView> view, LiveView());
  // Payloads are of any length: one search at a time, or each thread might hold a whole reply.
  const bool serial = params.with.payload;
  const size_t count = queries.size() / dim;
  return query::RunBatch(*engine_.helpers, count, serial, [&](size_t i) -> absl::Status {
    const std::span<const float> query = queries.subspan(i * dim, dim);
    TESSERA_RETURN_IF_ERROR(ValidateSearch(schema(), query, params));
    TESSERA_ASSIGN_OR_RETURN(SearchResult result, SearchIn(*view, field, query, params));
    return sink(i, std::move(result));
  });
}

absl::StatusOr<SearchResult> StoredCollection::SearchIn(const ReadView& view, size_t field,
                                                        std::span<const float> query,
                                                        const SearchParams& params) {
  const auto start = std::chrono::steady_clock::now();
  const query::SearchView& searched = view.fields[field].search;
  const query::SearchRequest request = query::Plan(GoalOf(params), searched);
  std::vector<query::Hit> found;
  query::SearchStats stats;
  {
    const SearcherPool::Loan searcher = engine_.searchers.Borrow();
    TESSERA_RETURN_IF_ERROR(searcher->Search(searched, query, request, &found, &stats));
  }
  SearchResult result;
  result.stats = {.estimated_recall = request.settings.recall,
                  .lists_probed = stats.lists_probed,
                  .codes_scanned = stats.codes_scanned,
                  .survivors = stats.survivors,
                  .reranked = stats.reranked,
                  .bytes_read = stats.bytes_read};
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
