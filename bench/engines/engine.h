// What a search engine must offer to be measured. Adapters: tessera in process and over gRPC, and
// the peers in bench/peers/.
//
// An engine lives in a process of its own (bench/worker.h), so that its memory can be told apart.
//
// Threads: Search from any number of threads at once; everything else from one, with no search
// running.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/types.h"
#include "bench/dataset.h"

namespace tessera::bench {

// One setting of an engine's search parameters; empty means the engine's defaults.
using SearchPoint = std::map<std::string, double>;

struct EngineOptions {
  base::Metric metric = base::Metric::kL2;
  uint32_t k = 10;
  int build_threads = 2;
  uint64_t memory_limit = 0;    // bytes; 0: the engine's default. In-memory peers have no limit.
  std::string work_dir{};       // exists, empty; for engines with files
  std::string server_binary{};  // `tessera`, for engines that start it; "": beside this program
};

class Engine {
 public:
  virtual ~Engine() = default;

  // "hnswlib"; the key of results and plots.
  virtual std::string name() const = 0;
  // Version, build parameters and instruction set, for the reader of a result.
  virtual std::string description() const = 0;

  // Loads and indexes all rows of `base` under external ids 0, 1, 2 ...
  virtual absl::Status Build(const VectorFile& base) = 0;

  // The points of the recall-QPS curve to measure when the user names none, cheapest first.
  virtual std::vector<SearchPoint> DefaultSweep() const = 0;

  // Takes effect for the searches that follow. Errors: kInvalidArgument for an unknown parameter.
  virtual absl::Status Configure(const SearchPoint& point) = 0;

  // External ids of at most k nearest rows, best first, into `*ids` (overwritten).
  virtual absl::Status Search(std::span<const float> query, std::vector<uint64_t>* ids) = 0;

  // Closes and opens what is on disk with every cache empty; returns the seconds opening took.
  // Errors: kUnimplemented for an engine that has nothing on disk.
  virtual absl::StatusOr<double> MakeCold() { return absl::UnimplementedError("all in memory"); }

  virtual uint64_t disk_bytes() const { return 0; }
  // The process that holds the index: 0 is this one, negative none now. From any thread.
  virtual int process_id() const { return 0; }
  // What the engine itself accounts for; 0 if it does not.
  virtual uint64_t accounted_bytes() const { return 0; }
};

// All ways of setting each parameter to one of its values, the last parameter varying fastest.
std::vector<SearchPoint> CrossProduct(
    const std::vector<std::pair<std::string, std::vector<double>>>& axes);

// Scales a row to length one; a zero row stays as it is.
void Normalize(std::span<float> row);

}  // namespace tessera::bench
