// The selectivity sweep: searches under filters that let through all rows down to one in ten
// thousand, with every plan that can be forced, in one run.
//
// The rows of a set get its own payload and generated fields: `u` uniform in [0, 1), `z` from a
// Zipf distribution, `c` along a random direction of the vectors (correlated with them), `cell` the
// nearest of 64 rows (a query's filter leaves out those nearest to it: anti-correlated), `n` a
// number below a million, each about as often (for IN).
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "base/types.h"

namespace tessera::bench {

struct FilterBenchOptions {
  std::string set;  // directory with base.*, query.* and payload.*
  base::Metric metric = base::Metric::kL2;
  uint32_t queries = 200;
  std::vector<uint32_t> limits = {10, 100};
  double recall_target = 0.95;
  int passes = 3;
  uint64_t memory_limit = uint64_t{2} << 30;
  std::vector<std::string> filters;  // beside the sweep's own; none of those if `only_these`
  bool only_these = false;
  std::string work_dir = "/tmp";  // a directory is made in it and removed at the end
};

// Writes one JSON line for each filter, limit and plan to `lines`, and a table to `out`.
//
// The truth is the exact plan's answer. Times are medians over the queries of the least of the
// passes; plans take turns query by query.
absl::Status RunFilterBench(const FilterBenchOptions& options, std::ostream& lines,
                            std::ostream& out);

}  // namespace tessera::bench
