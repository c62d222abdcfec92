#include "query/plan.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace tessera::query {
namespace {

// Rounding of a calibration's promises.
constexpr double kRecallSlack = 0.001;

// Rows that are many enough for estimates to confuse their order need more exact comparisons than
// there are hits: at this many hits, so many times as many.
constexpr uint32_t kDeepLimit = 100;
constexpr double kDeepRerank = 1.5;

// How many results without a filter reach as far as `limit` of the matches.
uint32_t LimitUnfiltered(uint32_t limit, uint64_t matches, uint64_t rows) {
  const double most = static_cast<double>(std::max<uint64_t>(rows, limit));
  const double spread = static_cast<double>(limit) * static_cast<double>(rows) /
                        static_cast<double>(std::max<uint64_t>(matches, 1));
  return static_cast<uint32_t>(std::min({std::ceil(std::max<double>(spread, limit)), most, 4e9}));
}

// Lists and reranks for a filter, and what both ways cost.
void PlanFiltered(const SearchGoal& goal, const IndexView& index, const IndexMatches& matches,
                  SearchRequest* request) {
  ProbeSettings& settings = request->settings;
  const uint32_t limit = LimitUnfiltered(goal.limit, matches.rows, index.rows);
  if (goal.nprobe == 0) {
    const ProbeSettings spread = index.calibration.ForTarget(goal.recall_target, limit);
    settings.nprobe = std::max(settings.nprobe, spread.nprobe);
    settings.theta = spread.theta;
    settings.recall = std::min(settings.recall, spread.recall);
  } else {
    // As many lists with matches reach as far as this many of all.
    const double lists = index.list_count();
    const double reach = goal.nprobe * lists / std::max(matches.lists_eligible, 1U);
    settings.theta = 0;
    settings.recall = index.calibration
                          .ForProbes(static_cast<uint32_t>(std::min(reach, lists)), limit)
                          .recall;
  }
  if (goal.limit >= kDeepLimit) {
    settings.rerank = std::max(
        settings.rerank, static_cast<uint32_t>(std::ceil(kDeepRerank * goal.limit)));
  }
  request->prices = PriceFilterPlans(index, matches, goal.limit, settings.nprobe);
  FilterPlan& chosen = request->prices.chosen;
  chosen = goal.plan;
  if (chosen == FilterPlan::kAuto) {
    const bool probe = goal.nprobe != 0 || request->prices.probe_us < request->prices.exact_us;
    chosen = probe ? FilterPlan::kProbe : FilterPlan::kExact;
  }
  if (chosen == FilterPlan::kExact) {
    request->exact = true;
    settings.recall = 1;
  }
}

}  // namespace

SearchRequest Plan(const SearchGoal& goal, const SearchView& view) {
  TESSERA_CHECK(goal.limit >= 1);
  SearchRequest request;
  request.limit = goal.limit;
  request.exact = goal.exact;
  request.dissimilarity_max = goal.dissimilarity_max;
  request.deadline = goal.deadline;
  request.cancelled = goal.cancelled;
  request.filter = goal.filter;
  request.settings.recall = 1;
  if (view.index == nullptr) return request;
  const IndexView& index = *view.index;
  const IndexMatches* matches = goal.filter == nullptr ? nullptr : goal.filter->index();
  if (goal.exact) {
    if (matches != nullptr) {
      request.prices = PriceFilterPlans(index, *matches, goal.limit, index.list_count());
      request.prices.chosen = FilterPlan::kExact;
    }
    return request;
  }

  const ProbeSettings settings =
      goal.nprobe != 0
          ? index.calibration.ForProbes(std::min(goal.nprobe, index.list_count()), goal.limit)
          : index.calibration.ForTarget(goal.recall_target, goal.limit);
  // What the codes of this index cannot reach, as the calibration found, raw vectors can.
  const bool forced = matches != nullptr && goal.plan == FilterPlan::kProbe;
  if (goal.nprobe == 0 && settings.recall < goal.recall_target - kRecallSlack && !forced) {
    request.exact = true;
    if (matches != nullptr) {
      request.prices = PriceFilterPlans(index, *matches, goal.limit, index.list_count());
      request.prices.chosen = FilterPlan::kExact;
    }
    return request;
  }
  request.settings = settings;
  if (matches != nullptr) PlanFiltered(goal, index, *matches, &request);
  if (goal.oversampling != 0) {
    const double rerank = std::ceil(goal.oversampling * goal.limit);
    request.settings.rerank =
        static_cast<uint32_t>(std::min(rerank, static_cast<double>(index.rows)));
  }
  return request;
}

}  // namespace tessera::query
