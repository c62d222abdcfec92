#include "db/filters/matching_points.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/status_macros.h"
#include "base/types.h"
#include "db/point_reader.h"
#include "index/codecs/codec.h"

namespace tessera::db {
namespace {

// Ids looked at together: few at first, for a page that is soon full.
constexpr size_t kFirstPortion = 128;
constexpr size_t kPortionMax = 8192;

}  // namespace

MatchingPoints::MatchingPoints(Engine& engine, const CollectionRecord& collection,
                               const ReadView& view, const BoundFilter* filter,
                               const StopCondition& stop)
    : engine_(engine),
      collection_(collection),
      view_(view),
      filter_(filter),
      stop_(stop),
      prefix_(UidKey(collection.uid)) {}

bool MatchingPoints::AreFew() const {
  if (filter_ == nullptr) return false;
  const uint64_t absorbed = filter_->index() == nullptr ? 0 : filter_->index()->rows;
  return absorbed + view_.fields[0].search.fresh.live_count() <= base::kLimitMax;
}

// An exact search of anything has them all.
absl::Status MatchingPoints::Collect(const std::optional<base::PointId>& offset) {
  const query::SearchView& view = view_.fields[0].search;
  const std::vector<float> anything(view.field.dim, 1.0F);
  query::SearchRequest request;
  request.limit = base::kLimitMax;
  request.exact = true;
  request.filter = filter_;
  request.deadline = stop_.deadline;
  request.cancelled = stop_.cancelled;
  std::vector<query::Hit> hits;
  query::SearchStats stats;
  {
    const SearcherPool::Loan searcher = engine_.searchers.Borrow();
    TESSERA_RETURN_IF_ERROR(searcher->Search(view, anything, request, &hits, &stats));
  }
  std::vector<base::RowId> unresolved;
  for (const query::Hit& hit : hits) {
    if (hit.id.resolved()) {
      portion_.push_back({.id = hit.id.ToPointId(), .row = hit.row});
    } else {
      unresolved.push_back(hit.row);
    }
  }
  if (!unresolved.empty()) {
    const PointReader reader(engine_, collection_, view_);
    TESSERA_ASSIGN_OR_RETURN(std::vector<StoredPoint> points, reader.Read(unresolved, {}));
    for (size_t i = 0; i < points.size(); ++i) {
      portion_.push_back({.id = std::move(points[i].id), .row = unresolved[i]});
    }
  }
  if (offset.has_value()) {
    std::erase_if(portion_, [&](const OldRow& point) { return point.id < *offset; });
  }
  std::sort(portion_.begin(), portion_.end(),
            [](const OldRow& a, const OldRow& b) { return a.id < b.id; });
  return absl::OkStatus();
}

absl::Status MatchingPoints::Seek(const std::optional<base::PointId>& offset) {
  if (AreFew()) return Collect(offset);
  ids_ = engine_.rows->NewIterator(storage::Table::kIds, prefix_, view_.rows.get());
  if (offset.has_value()) ids_->Seek(IdKey(collection_.uid, *offset));
  if (filter_ == nullptr) return ids_->status();
  view_.fields[0].search.fresh.ForEach([&](const query::FreshRowRef& row) {
    if (filter_->MatchesFresh(row)) fresh_.insert(row.row.value);
  });
  return ids_->status();
}

absl::StatusOr<std::optional<OldRow>> MatchingPoints::Next() {
  while (next_ == portion_.size()) {
    if (ids_ == nullptr || !ids_->Valid()) {
      if (ids_ != nullptr) TESSERA_RETURN_IF_ERROR(ids_->status());
      return std::nullopt;
    }
    TESSERA_RETURN_IF_ERROR(Fill());
  }
  return std::move(portion_[next_++]);
}

absl::Status MatchingPoints::Fill() {
  TESSERA_RETURN_IF_ERROR(stop_.Check());
  portion_.clear();
  next_ = 0;
  portion_ids_ = std::clamp(2 * portion_ids_, kFirstPortion, kPortionMax);
  for (size_t i = 0; i < portion_ids_ && ids_->Valid(); ++i, ids_->Next()) {
    TESSERA_ASSIGN_OR_RETURN(base::PointId id,
                             base::PointId::DecodeKey(ids_->key().substr(prefix_.size())));
    TESSERA_ASSIGN_OR_RETURN(const base::RowId row, DecodeRow(ids_->value()));
    portion_.push_back({.id = std::move(id), .row = row});
  }
  TESSERA_RETURN_IF_ERROR(ids_->status());
  if (filter_ == nullptr) return absl::OkStatus();

  std::vector<size_t> absorbed;  // in portion_, by row
  std::vector<bool> passes(portion_.size());
  for (size_t i = 0; i < portion_.size(); ++i) {
    if (portion_[i].row < view_.absorbed_end) {
      absorbed.push_back(i);
    } else {
      passes[i] = fresh_.contains(portion_[i].row.value);
    }
  }
  std::sort(absorbed.begin(), absorbed.end(),
            [&](size_t a, size_t b) { return portion_[a].row < portion_[b].row; });
  std::vector<base::RowId> rows;
  rows.reserve(absorbed.size());
  for (const size_t i : absorbed) rows.push_back(portion_[i].row);
  if (!rows.empty()) {
    TESSERA_ASSIGN_OR_RETURN(const std::vector<std::optional<uint64_t>> positions,
                             view_.fields[0].index->Locate(rows));
    for (size_t i = 0; i < absorbed.size(); ++i) {
      if (!positions[i].has_value()) continue;
      uint64_t word = 0;
      filter_->index()->Load(*positions[i] / index::kBlockRows, 1, &word);
      passes[absorbed[i]] = (word >> (*positions[i] % index::kBlockRows) & 1) != 0;
    }
  }
  size_t kept = 0;
  for (size_t i = 0; i < portion_.size(); ++i) {
    if (!passes[i]) continue;
    if (kept != i) portion_[kept] = std::move(portion_[i]);
    ++kept;
  }
  portion_.resize(kept);
  return absl::OkStatus();
}

}  // namespace tessera::db
