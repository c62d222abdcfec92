// Measures which probe settings reach which recall, on rows of the collection itself.
//
// A sample of live rows serves as queries, each blind to itself; an exact scan gives the truth. For
// each recall target the cheapest (nprobe, eps, rerank) is searched that reaches a stricter one, by
// a count of the work done, never by time: the same index and seed give the same calibration.
//
// Queries from elsewhere are harder than rows that helped to place the heads. The stricter target
// leaves room for that: of the misses a target allows, the sample may make kMissShare.
//
// Threads: Calibrate uses up to options.thread_count.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/status/statusor.h"

#include "query/calibration.h"
#include "query/index_view.h"

namespace tessera::query {

// See RESULTS.md of bench/ for the measurements behind it.
inline constexpr double kMissShare = 0.65;

struct CalibratorOptions {
  // Sample rows: as many as the exact scan may cost, within these bounds.
  uint32_t queries_min = 100;
  uint32_t queries_max = 400;
  // Multiplications of the exact scan, about 10^10 of which take a second on one core.
  uint64_t scan_work_max = uint64_t{60'000'000'000};
  uint32_t thread_count = 0;  // 0: one per core
  uint64_t seed = 1;
  const std::atomic<bool>* cancelled = nullptr;
};

// Fresh rows are left out. An index without live rows gets Calibration::Default.
//
// Errors: kCancelled; kDataLoss; kResourceExhausted.
// Cost:   one pass over the raw plane and about 10^5 searches.
absl::StatusOr<Calibration> Calibrate(const SearchView& view, const CalibratorOptions& options);

}  // namespace tessera::query
