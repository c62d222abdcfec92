// One measured point of the recall-QPS curve, as one JSON line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "bench/engines/engine.h"

namespace tessera::bench {

struct Result {
  // What was asked.
  std::string dataset;
  std::string metric;
  std::string type;
  uint64_t rows = 0;
  uint32_t dim = 0;
  uint32_t queries = 0;
  uint32_t k = 0;
  std::string engine;
  std::string description;
  SearchPoint params;         // empty: the engine's defaults
  std::string cache;          // "warm" or "cold"
  uint64_t memory_limit = 0;  // bytes; 0: none given

  // What it costs to have.
  double build_seconds = 0;
  int build_threads = 0;
  uint64_t resident_bytes = 0;   // anonymous memory the engine added, after the build
  uint64_t peak_bytes = 0;       // highest anonymous memory, build and searches included
  uint64_t accounted_bytes = 0;  // what the engine says it holds; 0: does not say
  uint64_t disk_bytes = 0;
  double open_seconds = 0;  // opening what is on disk, all caches empty; 0: not measured

  // What it gives.
  double recall = 0;
  double qps_1 = 0;   // queries a second on one thread, median of the passes
  double qps_2 = 0;   // on two; 0: not measured
  double p50_us = 0;  // of a query on one thread
  double p95_us = 0;
  double p99_us = 0;
  int passes = 0;

  // Where and when.
  std::string commit;
  std::string cpu;
  std::string time;  // UTC, RFC 3339
};

// One line without the newline; keys in a fixed order.
std::string ToJsonLine(const Result& result);
// Errors: kInvalidArgument naming what is wrong. Unknown keys are ignored.
absl::StatusOr<Result> ParseJsonLine(std::string_view line);
// All lines of a file. Errors name the line number.
absl::StatusOr<std::vector<Result>> ReadResults(const std::string& path);

// "defaults", or "ef=64", "k_factor=4 nprobe=32".
std::string PointName(const SearchPoint& point);

}  // namespace tessera::bench
