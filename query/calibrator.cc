#include "query/calibrator.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "index/parallel_for.h"
#include "index/raw_plane.h"
#include "query/calibration_sample.h"
#include "query/searcher.h"

namespace tessera::query {
namespace {

constexpr double kTargets[] = {0.80, 0.90, 0.95, 0.98, 0.99};
constexpr float kEpsGrid[] = {0.4F, 0.6F, 0.8F, 1.0F, 1.2F, 1.4F, 1.7F, 2.0F, 2.4F, 2.8F};
constexpr double kRerankGrid[] = {1.0, 1.3, 1.6, 2.4, 4.0, 8.0};  // factors of k
constexpr uint32_t kSmallK = 10;
constexpr uint32_t kLargeK = 100;
// Below this many rows k = 100 is a large part of the collection.
constexpr uint64_t kLargeKRowsMin = 2000;

struct Outcome {
  double recall = 0;
  double cost = 0;
};

// What a search costs by its counts, in nanoseconds of the machine STUDY-like measurements were
// made on; only the proportions matter.
class CostModel {
 public:
  explicit CostModel(const IndexView& index) {
    constexpr size_t kRows = 256;
    const double code_bytes = static_cast<double>(index.codec->CodePlaneBytes(kRows)) / kRows;
    const auto raw_bytes = static_cast<double>(index::RawRecordBytes(index.field));
    const auto fine_bytes = static_cast<double>(index.codec->FineRecordBytes());
    code_ = 0.2 + 0.04 * code_bytes;
    rerank_ = 25 + 0.1 * raw_bytes;
    // Without a fine plane a survivor is compared on its raw row, which is counted as such.
    survivor_ = index.has_fine() ? 12 + 0.1 * fine_bytes : 4;
  }
  double Of(const SearchStats& stats) const {
    return kList * static_cast<double>(stats.lists_probed) +
           code_ * static_cast<double>(stats.codes_scanned) +
           survivor_ * static_cast<double>(stats.survivors) +
           rerank_ * static_cast<double>(stats.reranked);
  }

 private:
  static constexpr double kList = 25;
  double code_;
  double survivor_;
  double rerank_;
};

// Runs the sample with given settings and remembers the outcomes.
class Trials {
 public:
  Trials(const SearchView& view, const CalibrationSample& sample, const CalibratorOptions& options,
         uint32_t k)
      : view_(view), sample_(sample), options_(options), k_(k), costs_(*view.index) {
    const uint32_t lists = view.index->list_count();
    for (double n = 1; n < lists; n = std::max(n + 1, n * 1.15)) {
      probes_.push_back(static_cast<uint32_t>(n));
    }
    probes_.push_back(lists);
    for (uint32_t i = 0; i < index::EffectiveThreads(options.thread_count); ++i) {
      searchers_.push_back(std::make_unique<Searcher>());
    }
  }

  size_t probe_count() const { return probes_.size(); }
  ProbeSettings Settings(size_t probe, size_t eps, size_t rerank) const {
    return {.recall = 0,
            .nprobe = probes_[probe],
            .eps = kEpsGrid[eps],
            .rerank = static_cast<uint32_t>(std::ceil(kRerankGrid[rerank] * k_))};
  }

  absl::StatusOr<Outcome> Run(size_t probe, size_t eps, size_t rerank) {
    const auto key = std::make_tuple(probe, eps, rerank);
    if (const auto known = outcomes_.find(key); known != outcomes_.end()) return known->second;
    std::vector<Outcome> each(sample_.size());
    std::vector<absl::Status> statuses(searchers_.size());
    SearchRequest request;
    request.limit = k_ + 1;
    request.settings = Settings(probe, eps, rerank);
    request.cancelled = options_.cancelled;
    index::ParallelFor(sample_.size(), options_.thread_count, [&](size_t i, uint32_t worker) {
      if (!statuses[worker].ok()) return;
      statuses[worker] = RunOne(request, i, searchers_[worker].get(), &each[i]);
    });
    for (const absl::Status& status : statuses) TESSERA_RETURN_IF_ERROR(status);
    Outcome mean;
    for (const Outcome& one : each) {
      mean.recall += one.recall / static_cast<double>(each.size());
      mean.cost += one.cost / static_cast<double>(each.size());
    }
    outcomes_[key] = mean;
    return mean;
  }

 private:
  // The row itself takes one place of k + 1, so the other k are what a search blind to it finds.
  absl::Status RunOne(const SearchRequest& request, size_t i, Searcher* searcher, Outcome* out) {
    std::vector<Hit> hits;
    SearchStats stats;
    TESSERA_RETURN_IF_ERROR(searcher->Search(view_, sample_.vector(i), request, &hits, &stats));
    RemoveRow(sample_.rows[i], k_, &hits);
    const std::vector<Hit>& truth = sample_.truth[i];
    const size_t wanted = std::min<size_t>(k_, truth.size());
    out->cost = costs_.Of(stats);
    out->recall = 1;
    if (wanted == 0) return absl::OkStatus();
    // By distance: which of several equally distant rows was found does not matter.
    const auto good = std::count_if(hits.begin(), hits.end(), [&](const Hit& hit) {
      return hit.dissimilarity <= truth[wanted - 1].dissimilarity;
    });
    out->recall = std::min(1.0, static_cast<double>(good) / static_cast<double>(wanted));
    return absl::OkStatus();
  }

  const SearchView& view_;
  const CalibrationSample& sample_;
  const CalibratorOptions& options_;
  const uint32_t k_;
  const CostModel costs_;
  std::vector<uint32_t> probes_;
  std::vector<std::unique_ptr<Searcher>> searchers_;
  std::map<std::tuple<size_t, size_t, size_t>, Outcome> outcomes_;
};

// A place on the three grids.
struct Place {
  size_t probe = 0;
  size_t eps = 3;
  size_t rerank = 2;
};

// Finds the cheapest place that reaches a recall, by descent along eps and rerank.
class Descent {
 public:
  Descent(Trials* trials, Place start) : trials_(trials), best_(start) {}

  // False: no place reaches it; `*place` is then the best there is.
  absl::StatusOr<bool> Find(double recall, Place* place) {
    recall_ = recall;
    best_cost_.reset();
    const Place start = best_;
    TESSERA_RETURN_IF_ERROR(Try(start));
    // From a hopeless start any wider one is better.
    for (Place wider = start; !best_cost_.has_value() && wider.eps + 1 < std::size(kEpsGrid);) {
      wider.eps += 1;
      wider.rerank = std::min(wider.rerank + 1, std::size(kRerankGrid) - 1);
      TESSERA_RETURN_IF_ERROR(Try(wider));
    }
    if (!best_cost_.has_value()) {
      *place = {trials_->probe_count() - 1, std::size(kEpsGrid) - 1, std::size(kRerankGrid) - 1};
      return false;
    }
    for (bool better = true; better;) {
      TESSERA_ASSIGN_OR_RETURN(const bool by_eps, Walk(&Place::eps, std::size(kEpsGrid)));
      TESSERA_ASSIGN_OR_RETURN(const bool by_rerank, Walk(&Place::rerank, std::size(kRerankGrid)));
      better = by_eps || by_rerank;
    }
    *place = best_;
    return true;
  }

 private:
  // Goes along one grid while that is cheaper; true if it moved.
  absl::StatusOr<bool> Walk(size_t Place::* axis, size_t size) {
    const size_t start = best_.*axis;
    for (const int step : {1, -1}) {
      while (true) {
        Place next = best_;
        if (step < 0 ? next.*axis == 0 : next.*axis + 1 >= size) break;
        next.*axis += static_cast<size_t>(step);
        const double before = *best_cost_;
        TESSERA_RETURN_IF_ERROR(Try(next));
        if (*best_cost_ >= before) break;
      }
    }
    return best_.*axis != start;
  }

  absl::StatusOr<bool> Reaches(Place place, size_t probe) {
    TESSERA_ASSIGN_OR_RETURN(const Outcome got, trials_->Run(probe, place.eps, place.rerank));
    return got.recall >= recall_;
  }

  // Finds the fewest probes that reach the recall with the place's eps and rerank, and takes the
  // place if it is the cheapest so far. Begins at the place's probes: wide searches are expensive.
  absl::Status Try(Place place) {
    const size_t last = trials_->probe_count() - 1;
    size_t high = std::min(place.probe, last);
    size_t low = 0;  // everything below is known or taken not to reach it
    TESSERA_ASSIGN_OR_RETURN(bool reached, Reaches(place, high));
    for (size_t step = 1; !reached; step *= 2) {
      if (high == last) return absl::OkStatus();
      low = high + 1;
      high = std::min(high + step, last);
      TESSERA_ASSIGN_OR_RETURN(reached, Reaches(place, high));
    }
    for (size_t step = 1; low < high; step *= 2) {
      const size_t probe = high - std::min(step, high - low);
      TESSERA_ASSIGN_OR_RETURN(reached, Reaches(place, probe));
      if (!reached) {
        low = probe + 1;
        break;
      }
      high = probe;
    }
    while (low < high) {
      const size_t middle = (low + high) / 2;
      TESSERA_ASSIGN_OR_RETURN(reached, Reaches(place, middle));
      (reached ? high : low) = reached ? middle : middle + 1;
    }
    TESSERA_ASSIGN_OR_RETURN(const Outcome found, trials_->Run(high, place.eps, place.rerank));
    if (!best_cost_.has_value() || found.cost < *best_cost_) {
      best_cost_ = found.cost;
      best_ = place;
      best_.probe = high;
    }
    return absl::OkStatus();
  }

  Trials* trials_;
  double recall_ = 0;
  Place best_;
  std::optional<double> best_cost_;
};

double RecallToPromise(double measured) {
  return std::clamp(1 - (1 - measured) / kMissShare, 0.0, 1.0);
}

absl::StatusOr<CalibrationCurve> MeasureCurve(Trials* trials, uint32_t k) {
  CalibrationCurve curve{.k = k, .points = {}};
  Place place;
  for (const double target : kTargets) {
    Descent descent(trials, place);
    TESSERA_ASSIGN_OR_RETURN(const bool reached,
                             descent.Find(1 - (1 - target) * kMissShare, &place));
    TESSERA_ASSIGN_OR_RETURN(const Outcome got, trials->Run(place.probe, place.eps, place.rerank));
    ProbeSettings point = trials->Settings(place.probe, place.eps, place.rerank);
    point.recall = static_cast<float>(reached ? target : RecallToPromise(got.recall));
    if (curve.points.empty()) {
      // What a single list gives, for settings below the lowest target.
      TESSERA_ASSIGN_OR_RETURN(const Outcome one, trials->Run(0, place.eps, place.rerank));
      ProbeSettings first = trials->Settings(0, place.eps, place.rerank);
      first.recall = static_cast<float>(std::min(RecallToPromise(one.recall), target));
      curve.points.push_back(first);
    }
    curve.points.push_back(point);
    if (!reached) break;
  }
  return curve;
}

size_t SampleSize(const IndexView& index, const CalibratorOptions& options) {
  const uint64_t per_query = std::max<uint64_t>(index.rows * index.field.dim, 1);
  const uint64_t affordable = options.scan_work_max / per_query;
  return static_cast<size_t>(
      std::clamp<uint64_t>(affordable, options.queries_min, options.queries_max));
}

}  // namespace

absl::StatusOr<Calibration> Calibrate(const SearchView& view, const CalibratorOptions& options) {
  const uint32_t lists = view.index == nullptr ? 1 : view.index->list_count();
  if (view.index == nullptr || view.index->rows <= view.live.dead_count()) {
    return Calibration::Default(lists);
  }
  const IndexView& index = *view.index;
  const SearchView absorbed{
      .field = view.field, .index = view.index, .live = view.live, .fresh = {}};
  SearchRequest request;
  request.exact = true;
  request.cancelled = options.cancelled;
  CalibrationSample sample;
  TESSERA_RETURN_IF_ERROR(
      DrawSample(absorbed, request, SampleSize(index, options), options.seed, &sample));
  if (sample.size() == 0) return Calibration::Default(lists);
  TESSERA_RETURN_IF_ERROR(FindTruth(absorbed, request, kLargeK, options.thread_count, &sample));

  std::vector<CalibrationCurve> curves;
  for (const uint32_t k : {kSmallK, kLargeK}) {
    if (k == kLargeK && index.rows < kLargeKRowsMin) break;
    Trials trials(absorbed, sample, options, k);
    TESSERA_ASSIGN_OR_RETURN(CalibrationCurve curve, MeasureCurve(&trials, k));
    curves.push_back(std::move(curve));
  }
  return Calibration(index.rows, lists, std::move(curves));
}

}  // namespace tessera::query
