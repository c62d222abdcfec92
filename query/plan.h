// The plan of a search: from what a client asks for to how the index is searched.
//
// Threads: free functions.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "base/deadline.h"
#include "query/index_view.h"
#include "query/searcher.h"

namespace tessera::query {

// What is asked for; see db/database.h for the ranges.
struct SearchGoal {
  uint32_t limit = 10;
  double recall_target = 0.95;  // over 0 and under 1; not read with `exact` or `nprobe`
  bool exact = false;
  uint32_t nprobe = 0;      // 0: as many lists as the target takes
  double oversampling = 0;  // 0: as many exact comparisons as the target takes; else per hit
  std::optional<float> dissimilarity_max = std::nullopt;
  base::Deadline deadline = base::Deadline::Never();
  const std::atomic<bool>* cancelled = nullptr;
  const RowFilter* filter = nullptr;
  FilterPlan plan = FilterPlan::kAuto;  // not read without a filter, nor with `exact`
};

// The way that reaches the goal, by the calibration of the view's index. Its settings.recall is
// what is to be expected: 1 where every row is compared, because that was asked for, there is no
// index, or its codes cannot reach the target.
//
// Under a filter the cheaper of two ways is taken, by the prices in the request: to compare all
// matches, or to probe. A filter that leaves a share s of the rows makes the k-th hit as far as the
// (k / s)-th without it, so it is priced with as many lists as that takes, lists without matches not
// counted. That holds for filters that do not depend on the vector; a search itself probes fewer or
// more, as the stopping rule finds (planning/stopping_rule.h). A given number of lists is always
// probed.
// Cost: under a microsecond.
SearchRequest Plan(const SearchGoal& goal, const SearchView& view);

}  // namespace tessera::query
