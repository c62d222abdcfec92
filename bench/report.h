// Turns result lines into one self-contained HTML page: a recall-throughput plot and a table for
// each data set. No scripts, no external resources, light and dark.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/result.h"

namespace tessera::bench {

// Where several results have the same data set, k, memory limit, engine, parameters and cache
// state, the last one counts.
std::string RenderReport(const std::vector<Result>& results);

// The results that no other one beats in both recall and QPS on one thread, by ascending recall.
std::vector<Result> ParetoFront(std::vector<Result> results);

// QPS on one thread that a front reaches at `recall`: between two points on the straight line of
// the plot's scales, below the first point that point's; nothing beyond the last.
std::optional<double> QpsAtRecall(const std::vector<Result>& front, double recall);

}  // namespace tessera::bench
