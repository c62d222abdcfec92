#include "query/calibration/calibration_trials.h"

#include <algorithm>

#include "base/status_macros.h"
#include "index/parallel_for.h"
#include "index/raw_plane.h"

namespace tessera::query {
namespace {

// A row's own places in the results; see RunOne.
constexpr uint32_t kSourcesMost = 2;
// A read of one unit while others are under way.
constexpr double kReadNanoseconds = 20'000;

// Share of a plane of `bytes` that does not fit in what is left of `room`, which shrinks.
double ShareOnDisk(double bytes, double* room) {
  const double kept = std::clamp(*room / std::max(bytes, 1.0), 0.0, 1.0);
  *room = std::max(0.0, *room - bytes);
  return 1 - kept;
}

}  // namespace

SearchCost::SearchCost(const IndexView& index) {
  constexpr size_t kRows = 256;
  const double code_bytes = static_cast<double>(index.codec->CodePlaneBytes(kRows)) / kRows;
  const auto fine_bytes = static_cast<double>(index.codec->FineRecordBytes());
  const auto raw_bytes = static_cast<double>(index::RawRecordBytes(index.field));
  const auto rows = static_cast<double>(index.rows);
  rows_per_list_ = rows / std::max<uint32_t>(index.list_count(), 1);

  auto room = static_cast<double>(index.cache->stats().capacity_bytes);
  const double codes_on_disk = ShareOnDisk(rows * code_bytes, &room);
  const double fine_on_disk = ShareOnDisk(rows * fine_bytes, &room);
  const double raw_on_disk = ShareOnDisk(rows * raw_bytes, &room);

  code_ =
      0.3 + 0.045 * code_bytes + codes_on_disk * kReadNanoseconds / std::max(rows_per_list_, 1.0);
  rerank_ = 100 + 0.2 * raw_bytes + raw_on_disk * kReadNanoseconds;
  if (!index.has_fine()) {
    // A survivor is compared on its raw row at once, which is counted as a rerank.
    survivor_ = 10;
    rerank_ = 60 + 0.1 * raw_bytes + raw_on_disk * kReadNanoseconds;
  } else {
    survivor_ = 40 + 0.15 * fine_bytes + (index.fetch_fine ? fine_on_disk * kReadNanoseconds : 0);
  }
}

double SearchCost::Of(const SearchStats& stats) const {
  return kList * static_cast<double>(stats.lists_probed) +
         code_ * static_cast<double>(stats.codes_scanned) +
         survivor_ * static_cast<double>(stats.survivors) +
         rerank_ * static_cast<double>(stats.reranked);
}

Trials::Trials(const SearchView& view, const SearchRequest& request,
               std::span<const CalibrationQuery> queries, uint32_t k, uint32_t thread_count)
    : view_(view),
      request_(request),
      queries_(queries),
      k_(k),
      thread_count_(thread_count),
      cost_(*view.index) {
  for (uint32_t i = 0; i < index::EffectiveThreads(thread_count); ++i) {
    searchers_.push_back(std::make_unique<Searcher>());
  }
}

Trials::~Trials() = default;

absl::StatusOr<Outcome> Trials::Run(const ProbeSettings& settings, size_t count) const {
  count = std::min(count, queries_.size());
  SearchRequest request = request_;
  request.exact = false;
  request.settings = settings;
  std::vector<double> recalls(count);
  std::vector<double> costs(count);
  std::vector<absl::Status> statuses(searchers_.size());
  index::ParallelFor(count, thread_count_, [&](size_t i, uint32_t worker) {
    if (!statuses[worker].ok()) return;
    statuses[worker] =
        RunOne(request, queries_[i], searchers_[worker].get(), &recalls[i], &costs[i]);
  });
  for (const absl::Status& status : statuses) TESSERA_RETURN_IF_ERROR(status);
  Outcome outcome{.recall = MeanRecall::Of(recalls), .cost = 0};
  for (const double cost : costs) outcome.cost += cost / static_cast<double>(count);
  return outcome;
}

// The rows a query is made of take places in the results: as many more are asked for, so that the
// other k are what a search blind to them finds.
absl::Status Trials::RunOne(const SearchRequest& request, const CalibrationQuery& query,
                            Searcher* searcher, double* recall, double* cost) const {
  std::vector<Hit> hits;
  SearchStats stats;
  SearchRequest wider = request;
  wider.limit = k_ + (query.sources[0] == query.sources[1] ? 1 : kSourcesMost);
  TESSERA_RETURN_IF_ERROR(searcher->Search(view_, query.vector, wider, &hits, &stats));
  std::erase_if(hits, [&](const Hit& hit) { return query.MadeOf(hit.row); });
  if (hits.size() > k_) hits.resize(k_);
  *cost = cost_.Of(stats);
  *recall = 1;
  const size_t wanted = std::min<size_t>(k_, query.neighbours.size());
  if (wanted == 0) return absl::OkStatus();
  // By distance: which of several equally distant rows was found does not matter.
  const float farthest = query.neighbours[wanted - 1].dissimilarity;
  const auto good = std::count_if(hits.begin(), hits.end(),
                                  [&](const Hit& hit) { return hit.dissimilarity <= farthest; });
  *recall = std::min(1.0, static_cast<double>(good) / static_cast<double>(wanted));
  return absl::OkStatus();
}

}  // namespace tessera::query
