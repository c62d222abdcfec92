// Recall-throughput curves of measured points, and what is read off them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/result.h"

namespace tessera::bench {

// The results that can be compared: one data set, k and memory limit.
struct ResultGroup {
  std::string dataset;
  uint32_t k = 0;
  uint64_t memory_limit = 0;
  std::vector<Result> results;       // in order of appearance
  std::vector<std::string> engines;  // in order of appearance
};

// Groups in order of appearance. Where several results have the same group, engine, parameters and
// cache state, the last one counts.
std::vector<ResultGroup> GroupResults(const std::vector<Result>& results);

// An engine's results that are not of a cold start.
std::vector<Result> WarmResults(const ResultGroup& group, const std::string& engine);

// The results that no other one beats in both recall and QPS, by ascending recall. `qps` is qps_1
// or qps_2; results without it are left out.
std::vector<Result> ParetoFront(std::vector<Result> results, double Result::* qps = &Result::qps_1);

// QPS that a front reaches at `recall`: between two points on the straight line of the plot's
// scales, below the first point that point's; nothing beyond the last.
std::optional<double> QpsAtRecall(const std::vector<Result>& front, double recall,
                                  double Result::* qps = &Result::qps_1);

// QPS of the defaults (no parameters) over what the other settings reach at the same recall, on one
// thread. Nothing without defaults, or where no other setting reaches their recall.
std::optional<double> DefaultsAgainstSweep(const std::vector<Result>& results);

}  // namespace tessera::bench
