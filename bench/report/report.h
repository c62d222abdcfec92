// Turns result lines into one self-contained HTML page: a recall-throughput plot and a table for
// each data set. No scripts, no external resources, light and dark.
#pragma once

#include <string>
#include <vector>

#include "bench/result.h"

namespace tessera::bench {

// Where several results have the same data set, k, memory limit, engine, parameters and cache
// state, the last one counts.
std::string RenderReport(const std::vector<Result>& results);

}  // namespace tessera::bench
