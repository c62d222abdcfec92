#include "query/calibration/calibrator.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "query/calibration/calibration_forecast.h"
#include "query/calibration/calibration_sample.h"
#include "query/calibration/calibration_trials.h"
#include "query/calibration/stopping_trace.h"
#include "query/eligibility.h"

namespace tessera::query {
namespace {

constexpr double kTargets[] = {0.80, 0.90, 0.95, 0.98, 0.99};
constexpr float kEpsGrid[] = {0.4F, 0.6F, 0.8F, 1.0F, 1.2F, 1.4F, 1.7F, 2.0F, 2.4F, 2.8F};
constexpr double kRerankGrid[] = {1.0, 1.2, 1.6, 2.4, 4.0, 8.0};  // factors of k
constexpr size_t kEpsStart = 3;

// An index of fewer rows is searched as widely as bounds and lists allow: a sample of it tells too
// little, and there is little to save.
constexpr uint64_t kSmallRows = 2000;
// Never reached: all lists are probed.
constexpr float kNoStop = 60;

// A curve is measured for each of these; neighbours beyond k tell how far down the second plane may
// put one of the k.
struct CurveShape {
  uint32_t k;
  size_t neighbours;
  double query_share;  // of the sample ...
  size_t queries_min;  // ... but at least so many
  uint64_t rows_min;   // of the index: below, k would be a large part of it
};
constexpr CurveShape kCurves[] = {
    {10, 40, 1.0, 100, 0}, {100, 200, 0.25, 100, kSmallRows}, {1000, 1200, 0.05, 40, 50'000}};

// Searches that compare the costs of two settings, and attempts to correct the forecast.
constexpr size_t kCostQueries = 100;
constexpr int kCorrectionsMax = 4;

// A way to search, on the grids.
struct Place {
  uint32_t nprobe = 1;
  size_t eps = kEpsStart;
  uint32_t rerank = 1;
};

// Finds the cheapest place that reaches a recall.
class CurveFinder {
 public:
  CurveFinder(const Trials& trials, const Forecast& forecast, uint32_t k, const IndexView& index)
      : trials_(trials),
        forecast_(forecast),
        lists_(index.list_count()),
        miss_share_(MissShare(index.field.metric)),
        small_(index.rows < kSmallRows) {
    for (const double factor : kRerankGrid) {
      reranks_.push_back(static_cast<uint32_t>(std::ceil(factor * k)));
    }
  }

  // The points of the curve; at least one.
  absl::StatusOr<std::vector<ProbeSettings>> Find();

 private:
  static double Lower(const MeanRecall& recall) { return recall.mean - kErrorShare * recall.error; }
  static ProbeSettings Settings(const Place& place, double recall = 0) {
    return {.recall = static_cast<float>(recall),
            .nprobe = place.nprobe,
            .eps = kEpsGrid[place.eps],
            .rerank = place.rerank};
  }
  Place Widest() const { return {lists_, std::size(kEpsGrid) - 1, reranks_.back()}; }

  std::optional<Place> Plan(size_t eps, double recall) const;
  uint32_t LeastProbes(size_t eps, uint32_t rerank, double recall) const;
  absl::StatusOr<double> CostOf(const Place& place) const;
  absl::StatusOr<std::optional<Place>> Cheapest(double recall) const;
  absl::StatusOr<std::optional<Place>> Reach(double recall);

  const Trials& trials_;
  const Forecast& forecast_;
  const uint32_t lists_;
  const double miss_share_;
  const bool small_;
  std::vector<uint32_t> reranks_;
  size_t eps_ = kEpsStart;  // of the last target's place
  double surplus_ = 0;      // what the forecast promises too much, in shares of the misses allowed
};

// The fewest lists that reach the recall by the forecast; 0 if none do.
uint32_t CurveFinder::LeastProbes(size_t eps, uint32_t rerank, double recall) const {
  uint32_t low = 1;
  uint32_t high = lists_;
  if (Lower(forecast_.Recall(high, eps, rerank)) < recall) return 0;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    if (Lower(forecast_.Recall(middle, eps, rerank)) >= recall) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return high;
}

// The best lists and reranks for a width of the bound, by the forecast.
std::optional<Place> CurveFinder::Plan(size_t eps, double recall) const {
  std::optional<Place> best;
  double best_cost = 0;
  for (const uint32_t rerank : reranks_) {
    const uint32_t nprobe = LeastProbes(eps, rerank, recall);
    if (nprobe == 0) continue;
    const double cost = trials_.cost().PerList() * nprobe + trials_.cost().PerRerank() * rerank;
    if (!best.has_value() || cost < best_cost) {
      best = Place{nprobe, eps, rerank};
      best_cost = cost;
    }
  }
  return best;
}

absl::StatusOr<double> CurveFinder::CostOf(const Place& place) const {
  TESSERA_ASSIGN_OR_RETURN(const Outcome outcome, trials_.Run(Settings(place), kCostQueries));
  return outcome.cost;
}

// Goes along the widths of the bound while that makes searches cheaper.
absl::StatusOr<std::optional<Place>> CurveFinder::Cheapest(double recall) const {
  std::optional<Place> best;
  size_t start = eps_;
  for (; start < std::size(kEpsGrid) && !best.has_value(); ++start) best = Plan(start, recall);
  if (!best.has_value()) return best;
  --start;
  TESSERA_ASSIGN_OR_RETURN(double best_cost, CostOf(*best));
  for (const int step : {1, -1}) {
    for (size_t eps = start; step > 0 ? eps + 1 < std::size(kEpsGrid) : eps > 0;) {
      eps = step > 0 ? eps + 1 : eps - 1;
      const std::optional<Place> next = Plan(eps, recall);
      if (!next.has_value()) break;
      TESSERA_ASSIGN_OR_RETURN(const double cost, CostOf(*next));
      if (cost >= best_cost) break;
      best = next;
      best_cost = cost;
    }
    if (best->eps != start) break;
  }
  return best;
}

// The cheapest place whose searches really reach the recall; none if there is none.
absl::StatusOr<std::optional<Place>> CurveFinder::Reach(double recall) {
  const double misses = 1 - recall;
  TESSERA_ASSIGN_OR_RETURN(std::optional<Place> place,
                           Cheapest(std::min(1.0, recall + surplus_ * misses)));
  std::optional<Place> reached;
  for (int attempt = 0; place.has_value() && attempt < kCorrectionsMax; ++attempt) {
    TESSERA_ASSIGN_OR_RETURN(const Outcome outcome,
                             trials_.Run(Settings(*place), trials_.query_count()));
    const double beyond = (Lower(outcome.recall) - recall) / misses;
    if (beyond >= 0 && (!reached.has_value() || place->nprobe < reached->nprobe)) reached = place;
    // Good enough, or it hangs on the few queries between two numbers of lists.
    if (beyond >= 0 && beyond < 0.1) break;
    surplus_ -= beyond;
    const std::optional<Place> next = Plan(place->eps, recall + surplus_ * misses);
    if (!next.has_value()) break;
    if (next->nprobe == place->nprobe && next->rerank == place->rerank) break;
    if (reached.has_value() && next->nprobe >= reached->nprobe) break;
    place = next;
  }
  if (reached.has_value()) return reached;
  // The last resort, short of everything: the same bound one step wider, with more lists.
  for (Place wider = place.value_or(Widest()); wider.nprobe < lists_;) {
    wider.nprobe = std::min(lists_, wider.nprobe + wider.nprobe / 4 + 1);
    wider.eps = std::min(wider.eps + 1, std::size(kEpsGrid) - 1);
    wider.rerank = std::max(wider.rerank, reranks_[2]);
    TESSERA_ASSIGN_OR_RETURN(const Outcome outcome,
                             trials_.Run(Settings(wider), trials_.query_count()));
    if (Lower(outcome.recall) >= recall) return wider;
  }
  return reached;
}

absl::StatusOr<std::vector<ProbeSettings>> CurveFinder::Find() {
  std::vector<ProbeSettings> points;
  const auto promise = [this](double measured) {
    return std::clamp(1 - (1 - measured) / miss_share_, 0.0, 1.0);
  };
  for (const double target : kTargets) {
    if (small_) break;
    TESSERA_ASSIGN_OR_RETURN(const std::optional<Place> place,
                             Reach(1 - (1 - target) * miss_share_));
    if (!place.has_value()) break;
    if (points.empty()) {
      // What a single list gives, for settings below the lowest target.
      const MeanRecall one = forecast_.Recall(1, place->eps, place->rerank);
      points.push_back(
          Settings({1, place->eps, place->rerank}, std::min(promise(one.mean), target)));
    }
    points.push_back(Settings(*place, target));
    eps_ = place->eps;
  }
  if (points.size() < std::size(kTargets) + 1) {
    const Place widest = Widest();
    TESSERA_ASSIGN_OR_RETURN(const Outcome outcome,
                             trials_.Run(Settings(widest), trials_.query_count()));
    const double last = points.empty() ? 0 : double{points.back().recall};
    points.push_back(Settings(widest, std::max(last, promise(outcome.recall.mean))));
  }
  return points;
}

size_t SampleSize(const IndexView& index, const CalibratorOptions& options) {
  const uint64_t per_query = std::max<uint64_t>(index.rows * index.field.dim, 1);
  const uint64_t affordable = options.scan_work_max / per_query;
  return static_cast<size_t>(
      std::clamp<uint64_t>(affordable, options.queries_min, options.queries_max));
}

size_t QueriesFor(const CurveShape& shape, size_t sample) {
  const auto share =
      static_cast<size_t>(std::ceil(shape.query_share * static_cast<double>(sample)));
  return std::min(sample, std::max(share, shape.queries_min));
}

}  // namespace

absl::StatusOr<Calibration> Calibrate(const SearchView& view, const CalibratorOptions& options) {
  const uint32_t lists = view.index == nullptr ? 1 : view.index->list_count();
  if (Eligibility(view).count() == 0) {
    return Calibration::Default(lists);
  }
  const IndexView& index = *view.index;
  const SearchView absorbed{
      .field = view.field, .index = view.index, .live = view.live, .fresh = {}};
  SearchRequest request;
  request.cancelled = options.cancelled;
  std::vector<CalibrationQuery> queries;
  TESSERA_RETURN_IF_ERROR(
      DrawQueries(absorbed, request, SampleSize(index, options), options.seed, &queries));
  if (queries.empty()) return Calibration::Default(lists);
  // A curve takes the first queries of the sample; each gets as many neighbours as any curve wants.
  size_t known = 0;
  for (size_t curve = std::size(kCurves); curve-- > 0;) {
    const CurveShape& shape = kCurves[curve];
    const size_t count = QueriesFor(shape, queries.size());
    if (index.rows < shape.rows_min || count <= known) continue;
    TESSERA_RETURN_IF_ERROR(FindNeighbours(absorbed, request, shape.neighbours,
                                           options.thread_count,
                                           std::span(queries).subspan(known, count - known)));
    known = count;
  }
  std::vector<CalibrationCurve> curves;
  for (const CurveShape& shape : kCurves) {
    if (index.rows < shape.rows_min) break;
    const std::span<const CalibrationQuery> some =
        std::span(queries).first(QueriesFor(shape, queries.size()));
    TESSERA_ASSIGN_OR_RETURN(const Forecast forecast,
                             Forecast::Make(absorbed, request, some, shape.k, shape.neighbours,
                                            kEpsGrid, options.thread_count));
    const Trials trials(absorbed, request, some, shape.k, options.thread_count);
    CurveFinder finder(trials, forecast, shape.k, index);
    TESSERA_ASSIGN_OR_RETURN(std::vector<ProbeSettings> points, finder.Find());
    const StoppingTrace trace(absorbed, some, shape.k, options.thread_count);
    for (ProbeSettings& point : points) {
      point.theta = index.rows < kSmallRows ? kNoStop : std::min(kNoStop, trace.ThetaFor(point.nprobe));
    }
    curves.push_back({.k = shape.k, .points = std::move(points)});
  }
  return Calibration(index.rows, lists, std::move(curves));
}

}  // namespace tessera::query
