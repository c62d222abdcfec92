// Trials: runs the queries of a calibration with given settings and tells recall and cost.
//
// Threads: one at a time; Run uses several itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "query/calibration/calibration_forecast.h"
#include "query/calibration/calibration_sample.h"
#include "query/index_view.h"
#include "query/searcher.h"

namespace tessera::query {

// What a search costs by its counts, in nanoseconds of one machine; only the proportions matter.
// Planes for which the page cache has no room cost reads.
class SearchCost {
 public:
  explicit SearchCost(const IndexView& index);

  double Of(const SearchStats& stats) const;
  // Of one more list, and of one more row to rerank: for weighing these two.
  double PerList() const { return kList + rows_per_list_ * code_; }
  double PerRerank() const { return rerank_; }

 private:
  static constexpr double kList = 60;
  double rows_per_list_;
  double code_;
  double survivor_;
  double rerank_;
};

struct Outcome {
  MeanRecall recall;
  double cost = 0;
};

class Trials {
 public:
  // `queries` with their neighbours; for `k` results.
  Trials(const SearchView& view, const SearchRequest& request,
         std::span<const CalibrationQuery> queries, uint32_t k, uint32_t thread_count);
  ~Trials();

  // Runs the first `count` queries.
  // Errors: as Searcher::Search.
  absl::StatusOr<Outcome> Run(const ProbeSettings& settings, size_t count) const;

  size_t query_count() const { return queries_.size(); }
  const SearchCost& cost() const { return cost_; }

 private:
  absl::Status RunOne(const SearchRequest& request, const CalibrationQuery& query,
                      Searcher* searcher, double* recall, double* cost) const;

  const SearchView& view_;
  const SearchRequest request_;
  const std::span<const CalibrationQuery> queries_;
  const uint32_t k_;
  const uint32_t thread_count_;
  const SearchCost cost_;
  std::vector<std::unique_ptr<Searcher>> searchers_;  // one per thread
};

}  // namespace tessera::query
