// The recall-throughput suite: one data set, several engines, one run.
//
// Every engine lives in a process of its own. All are built first, one after the other; then each
// point's recall is taken, and its passes are timed in rounds that visit every engine and point
// before any is visited again, so that a slow minute of the machine hits all alike.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "base/types.h"
#include "bench/engines/engine.h"
#include "bench/result.h"

namespace tessera::bench {

struct AnnOptions {
  // --- Data ---
  std::string dataset;  // name in the results
  std::string base_path;
  std::string query_path;
  std::string truth_path;  // empty: computed, kept in cache_dir
  base::Metric metric = base::Metric::kL2;
  uint64_t rows_max = 0;   // 0: all; a part of the rows needs a computed truth
  uint32_t query_max = 0;  // 0: all
  std::string cache_dir;   // for computed truths; empty: not kept

  // --- Engines ---
  std::vector<std::string> engines;
  std::map<std::string, std::vector<SearchPoint>> points;  // absent: the engine's own sweep
  uint32_t k = 10;
  uint64_t memory_limit = 0;
  int build_threads = 2;
  bool cold = false;          // also each point's first pass after a cold start, where there is one
  std::string server_binary;  // `tessera`; empty: beside this program
  std::string work_dir;       // a directory is made in it and removed at the end

  // --- Measuring ---
  int passes = 5;
  double pass_seconds = 0.5;
  std::vector<int> threads = {1, 2};  // of 1 and 2
  std::string commit;
};

// Calls `sink` with each result when the run is done, and `note` with a line of progress now and
// then.
absl::Status RunAnn(const AnnOptions& options, const std::function<void(const Result&)>& sink,
                    const std::function<void(const std::string&)>& note);

// Fills in base_path, query_path and truth_path from a directory with `base.*`, `query.*` and
// `gt100_<cos|l2|ip>.bin` (the last may be missing), and dataset from its name and the metric.
// `NAME_base.*` and `NAME_query.*` (TEXMEX), `train-images*` and `t10k-images*` (MNIST) do as well.
absl::Status FindSet(const std::string& directory, AnnOptions* options);

// Parses "ef=16,32,64" or "nprobe=8,16;k_factor=4" into all combinations; "defaults" is the point
// without parameters. Errors: kInvalidArgument.
absl::StatusOr<std::vector<SearchPoint>> ParsePoints(std::string_view text);

// "Intel(R) Xeon(R) ... x2".
std::string CpuName();

}  // namespace tessera::bench
