// Measures which probe settings reach which recall, on rows of the collection itself.
//
// A sample of live rows serves as queries (calibration_sample.h); one exact scan gives the truth.
// Where the true neighbours are tells nearly how many lists a width of the bound and a number of
// reranks need for a recall (calibration_forecast.h); a few hundred searches with each of the
// promising settings decide and correct (calibration_trials.h). Costs are counts of work, never
// times: the same index and seed give the same calibration, as long as the cache holds the planes.
//
// Queries from elsewhere are harder than rows that helped to place the heads, and a sample is only
// a sample: of the misses a target allows, the sample may make MissShare(metric), and kErrorShare
// standard deviations of its mean less.
//
// Threads: Calibrate uses up to options.thread_count.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/status/statusor.h"

#include "base/types.h"
#include "query/calibration/calibration.h"
#include "query/index_view.h"

namespace tessera::query {

// See bench/RESULTS.md for the measurements behind them. Under inner product queries and rows are
// usually made by different models, or by different halves of one, and differ more than elsewhere.
constexpr double MissShare(base::Metric metric) {
  return metric == base::Metric::kInnerProduct ? 0.5 : 0.6;
}
inline constexpr double kErrorShare = 1.0;

struct CalibratorOptions {
  // Sample queries: as many as the exact scan may cost, within these bounds.
  uint32_t queries_min = 100;
  uint32_t queries_max = 800;
  // Multiplications of the exact scan, about 10^10 of which take a second on one core.
  uint64_t scan_work_max = uint64_t{50'000'000'000};
  uint32_t thread_count = 0;  // 0: one per core
  uint64_t seed = 1;
  const std::atomic<bool>* cancelled = nullptr;
};

// Fresh rows are left out. An index without live rows gets Calibration::Default.
//
// Errors: kCancelled; kDataLoss; kResourceExhausted.
// Cost:   one pass over the raw plane and some 20,000 searches: 2-5 s for 400k x 128 on two cores.
// Memory: about 10 KB per sample query.
absl::StatusOr<Calibration> Calibrate(const SearchView& view, const CalibratorOptions& options);

}  // namespace tessera::query
