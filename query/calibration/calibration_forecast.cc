#include "query/calibration/calibration_forecast.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <utility>

#include "base/status_macros.h"
#include "index/codecs/codec.h"
#include "index/heads/head_index.h"
#include "index/parallel_for.h"
#include "query/search_space.h"
#include "query/top_hits.h"
#include "storage/epoch.h"

namespace tessera::query {

struct Forecast::Scratch {
  std::vector<float> query;  // in search space
  std::unique_ptr<index::QueryCode> code;
  SearchSpace space;
  index::HeadCursor heads;
  std::vector<index::HeadHit> hits;  // all lists, in probe order
  std::vector<uint32_t> list_place;  // list -> place in hits
  std::vector<uint64_t> mask;
  std::vector<float> taus;  // when the list of each neighbour is probed
  std::vector<uint32_t> order;
  KthSmallest kth;
  std::vector<index::Survivor> survivors;
  std::vector<float> fine;  // estimates of the neighbours
  std::vector<storage::FetchRequest> requests;

  // Null for a list that is never probed.
  const index::HeadHit* HeadOf(uint32_t list) const {
    return list_place[list] < hits.size() ? &hits[list_place[list]] : nullptr;
  }
};

struct Forecast::Task {
  const SearchView& view;
  const SearchRequest& request;
  size_t k;
  size_t neighbours;
  std::span<const float> eps_grid;
};

MeanRecall MeanRecall::Of(std::span<const double> recalls) {
  const auto count = static_cast<double>(recalls.size());
  MeanRecall result;
  for (const double recall : recalls) result.mean += recall;
  result.mean /= count;
  double square = 0;
  for (const double recall : recalls) square += (recall - result.mean) * (recall - result.mean);
  result.error = std::sqrt(square) / count;
  return result;
}

// NOLINTNEXTLINE(readability-function-size): one caller
absl::StatusOr<Forecast> Forecast::Make(const SearchView& view, const SearchRequest& request,
                                        std::span<const CalibrationQuery> queries, size_t k,
                                        size_t neighbours, std::span<const float> eps_grid,
                                        uint32_t thread_count) {
  const Task task{view, request, k, neighbours, eps_grid};
  Forecast forecast;
  forecast.entries_.resize(queries.size());
  const uint32_t workers = index::EffectiveThreads(thread_count);
  std::vector<Scratch> scratch(workers);
  std::vector<absl::Status> statuses(workers);
  index::ParallelFor(queries.size(), thread_count, [&](size_t i, uint32_t worker) {
    if (!statuses[worker].ok() || queries[i].neighbours.empty()) return;
    statuses[worker] = Examine(task, queries[i], &scratch[worker], &forecast.entries_[i]);
  });
  for (const absl::Status& status : statuses) TESSERA_RETURN_IF_ERROR(status);
  std::erase_if(forecast.entries_, [](const auto& entries) { return entries.empty(); });
  return forecast;
}

MeanRecall Forecast::Recall(uint32_t nprobe, size_t eps, uint32_t rerank) const {
  if (entries_.empty()) return {.mean = 1, .error = 0};
  std::vector<double> recalls;
  recalls.reserve(entries_.size());
  for (const std::vector<Entry>& entries : entries_) {
    size_t found = 0;
    for (const Entry& entry : entries) {
      found += static_cast<size_t>(entry.list_place < nprobe && entry.eps <= eps &&
                                   entry.fine_place < rerank);
    }
    recalls.push_back(static_cast<double>(found) / static_cast<double>(entries.size()));
  }
  return MeanRecall::Of(recalls);
}

namespace {

// Calls `use` with the unit of each place, wherever it is.
// NOLINTNEXTLINE(readability-function-size): two callers, next to it
absl::Status WithUnits(const SearchView& view, storage::CacheGuard& guard,
                       std::vector<storage::FetchRequest>* requests,
                       std::span<const Neighbour> neighbours,
                       absl::FunctionRef<storage::FetchRequest(const RowPlace& place)> unit_of,
                       absl::FunctionRef<void(size_t i, const std::byte* unit)> use) {
  requests->clear();
  for (const Neighbour& neighbour : neighbours) {
    requests->push_back(unit_of(neighbour.place));
  }
  return view.index->cache->Fetch(guard, *requests, use);
}

}  // namespace

absl::Status Forecast::Examine(const Task& task, const CalibrationQuery& query, Scratch* scratch,
                               std::vector<Entry>* entries) {
  if (task.request.cancelled != nullptr &&
      task.request.cancelled->load(std::memory_order_relaxed)) {
    return absl::CancelledError("the calibration was cancelled");
  }
  Scratch& s = *scratch;
  const IndexView& index = *task.view.index;
  s.space.Prepare(index.field.metric, index.heads->unit(), query.vector, &s.query);
  if (s.code == nullptr) s.code = index.codec->NewQuery();
  index.codec->PrepareQuery(s.query.data(), s.code.get());
  index.heads->Nearest(s.query.data(), index.list_count(), &s.heads, &s.hits);
  s.list_place.assign(index.list_count(), index.list_count());
  for (uint32_t place = 0; place < s.hits.size(); ++place) s.list_place[s.hits[place].list] = place;

  const std::vector<Neighbour>& all = query.neighbours;
  const std::span<const Neighbour> ranked =
      std::span(all).first(std::min(task.neighbours, all.size()));
  const std::span<const Neighbour> nearest = std::span(all).first(std::min(task.k, all.size()));
  entries->assign(nearest.size(), {.list_place = index.list_count(),
                                   .fine_place = 0,
                                   .eps = static_cast<uint8_t>(task.eps_grid.size())});
  storage::CacheGuard guard;
  FindTaus(task, ranked, &s);
  TESSERA_RETURN_IF_ERROR(FindWidths(task, nearest, guard, &s, entries));
  if (!index.has_fine() || !index.fetch_fine) return absl::OkStatus();
  return FindFinePlaces(task, ranked, guard, &s, entries);
}

// What tau is, at least, when the list of each neighbour is scanned.
void Forecast::FindTaus(const Task& task, std::span<const Neighbour> ranked, Scratch* scratch) {
  Scratch& s = *scratch;
  const IndexView& index = *task.view.index;
  const auto place_of = [&](uint32_t i) {
    return s.list_place[index.parts[ranked[i].place.part].list];
  };
  s.order.resize(ranked.size());
  std::iota(s.order.begin(), s.order.end(), 0U);
  std::sort(s.order.begin(), s.order.end(),
            [&](uint32_t a, uint32_t b) { return place_of(a) < place_of(b); });
  // Rows farther than the ranked ones are not known.
  const float farthest = ranked.back().dissimilarity;
  s.kth.Reset(task.k);
  s.taus.resize(ranked.size());
  for (size_t begin = 0; begin < s.order.size();) {
    const float tau = std::min(s.kth.value(), farthest);
    size_t end = begin;
    for (; end < s.order.size() && place_of(s.order[end]) == place_of(s.order[begin]); ++end) {
      s.taus[s.order[end]] = s.space.Of(tau);
    }
    for (; begin < end; ++begin) s.kth.Push(ranked[s.order[begin]].dissimilarity);
  }
}

// The list's place and the width of the bound that each neighbour needs.
absl::Status Forecast::FindWidths(const Task& task, std::span<const Neighbour> nearest,
                                  storage::CacheGuard& guard, Scratch* scratch,
                                  std::vector<Entry>* entries) {
  Scratch& s = *scratch;
  const IndexView& index = *task.view.index;
  index::ListScan scan;
  return WithUnits(
      task.view, guard, &s.requests, nearest,
      [&](const RowPlace& place) {
        const ListPart& part = index.parts[place.part];
        return storage::FetchRequest{.table = &*part.planes->codes, .unit = part.code_unit};
      },
      [&](size_t i, const std::byte* codes) {
        const ListPart& part = index.parts[nearest[i].place.part];
        const index::HeadHit* head = s.HeadOf(part.list);
        if (head == nullptr) return;
        const uint32_t slot = nearest[i].place.slot;
        s.mask.assign(index::BlockCount(part.rows), 0);
        s.mask[slot / 64] = uint64_t{1} << (slot % 64);
        s.survivors.resize(std::max<size_t>(s.survivors.size(), part.rows));
        scan.code_plane = codes;
        scan.rows = part.rows;
        scan.head_distance2 = head->distance2;
        scan.head_dot = head->dot;
        scan.block_mask = s.mask.data();
        scan.tau = s.taus[i];
        // A row that passes a bound passes every wider one.
        const auto least =
            std::partition_point(task.eps_grid.begin(), task.eps_grid.end(), [&](float eps) {
              scan.eps = eps;
              return index.codec->ScanList(*s.code, scan, s.survivors.data()) == 0;
            });
        (*entries)[i].eps = static_cast<uint8_t>(least - task.eps_grid.begin());
        (*entries)[i].list_place = s.list_place[part.list];
      });
}

// Where the second plane puts each neighbour among all that are near.
absl::Status Forecast::FindFinePlaces(const Task& task, std::span<const Neighbour> ranked,
                                      storage::CacheGuard& guard, Scratch* scratch,
                                      std::vector<Entry>* entries) {
  Scratch& s = *scratch;
  const IndexView& index = *task.view.index;
  const size_t record_bytes = index.codec->FineRecordBytes();
  s.fine.assign(ranked.size(), std::numeric_limits<float>::max());
  TESSERA_RETURN_IF_ERROR(WithUnits(
      task.view, guard, &s.requests, ranked,
      [&](const RowPlace& place) {
        const ListPart& part = index.parts[place.part];
        return storage::FetchRequest{
            .table = &*part.planes->fine,
            .unit = part.fine_unit + place.slot / index.fine_rows_per_unit};
      },
      [&](size_t i, const std::byte* unit) {
        const RowPlace& place = ranked[i].place;
        const std::byte* record = unit + place.slot % index.fine_rows_per_unit * record_bytes;
        if (const index::HeadHit* head = s.HeadOf(index.parts[place.part].list)) {
          s.fine[i] = index.codec->FineEstimate(*s.code, record, head->distance2, head->dot);
        }
      }));
  for (size_t i = 0; i < entries->size(); ++i) {
    (*entries)[i].fine_place = static_cast<uint32_t>(std::count_if(
        s.fine.begin(), s.fine.end(), [&](float estimate) { return estimate < s.fine[i]; }));
  }
  return absl::OkStatus();
}

}  // namespace tessera::query
