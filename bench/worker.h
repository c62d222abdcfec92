// An engine in a process of its own, driven over a socket: its memory can be told from everybody
// else's, a crash is an answer, and passes of several engines can alternate in one run.
//
// Start every worker before the process has threads of its own (BLAS makes some).
//
// Threads: one at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "bench/engines/engine.h"

namespace tessera::bench {

struct BuildReport {
  std::string name;
  std::string description;
  std::vector<SearchPoint> default_sweep;
  double seconds = 0;
  uint64_t resident_bytes = 0;  // anonymous memory added by the build
  uint64_t disk_bytes = 0;
};

struct PassRequest {
  SearchPoint point;
  int threads = 1;
  double seconds_min = 0.5;  // passes over all queries are repeated until then
  double warmup_seconds = 0.05;
};

struct PassReport {
  double qps = 0;
  double p50_us = 0;
  double p95_us = 0;
  double p99_us = 0;
};

struct MemoryReport {
  uint64_t resident_bytes = 0;   // now, anonymous, beyond what the process had before the build
  uint64_t peak_bytes = 0;       // the highest so far, sampled
  uint64_t accounted_bytes = 0;  // by the engine itself
};

class Worker {
 public:
  using Factory = std::function<std::unique_ptr<Engine>()>;

  // Shapes: queries [n x base.dim()]. `base` and `queries` must outlive the worker's start only.
  static absl::StatusOr<std::unique_ptr<Worker>> Start(const Factory& factory,
                                                       const VectorFile& base,
                                                       const std::vector<float>& queries);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();  // ends the process and waits for it

  // Errors of all calls: the engine's own; kInternal when the process is gone.
  absl::StatusOr<BuildReport> Build();
  // The ids of every query at `point`, in order, on one thread.
  absl::StatusOr<std::vector<std::vector<uint64_t>>> Answers(const SearchPoint& point);
  // Every query timed. `seconds_min` 0 makes one pass over the queries.
  absl::StatusOr<PassReport> Measure(const PassRequest& request);
  // Seconds that opening took.
  absl::StatusOr<double> MakeCold();
  absl::StatusOr<MemoryReport> Memory();

 private:
  Worker(int socket, pid_t pid);
  absl::StatusOr<std::string> Call(const std::string& request) const;

  int socket_;
  pid_t pid_;
};

// Reads a field such as "RssAnon" of /proc/<pid>/status in bytes; pid 0 is this process;
// 0 if there is none.
uint64_t ProcessMemory(const char* field, int pid);

}  // namespace tessera::bench
