#include "query/plan.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace tessera::query {
namespace {

// Rounding of a calibration's promises.
constexpr double kRecallSlack = 0.001;

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
  if (goal.exact || view.index == nullptr) return request;

  const IndexView& index = *view.index;
  const ProbeSettings settings =
      goal.nprobe != 0
          ? index.calibration.ForProbes(std::min(goal.nprobe, index.list_count()), goal.limit)
          : index.calibration.ForTarget(goal.recall_target, goal.limit);
  // What the codes of this index cannot reach, as the calibration found, raw vectors can.
  if (goal.nprobe == 0 && settings.recall < goal.recall_target - kRecallSlack) {
    request.exact = true;
    return request;
  }
  request.settings = settings;
  if (goal.oversampling != 0) {
    const double rerank = std::ceil(goal.oversampling * goal.limit);
    request.settings.rerank =
        static_cast<uint32_t>(std::min(rerank, static_cast<double>(index.rows)));
  }
  return request;
}

}  // namespace tessera::query
