// What the two ways of running Tessera (in process, over gRPC) share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/schema.h"
#include "bench/dataset.h"
#include "bench/engines/engine.h"
#include "db/database.h"

namespace tessera::bench {

inline constexpr char kBenchCollection[] = "bench";

// Hands the rows of a file to a load in batches of about 1 MiB, under ids 0, 1, 2 ...
class RowSource {
 public:
  // `file` outlives the source.
  explicit RowSource(const VectorFile& file);
  absl::Status Next(std::vector<db::Point>* batch);

 private:
  const VectorFile& file_;
  const uint64_t batch_rows_;
  uint64_t next_ = 0;
  std::vector<std::byte> chunk_;
};

// One collection with the file's dimension and element type.
base::CollectionSchema BenchSchema(const VectorFile& file, base::Metric metric);

// The defaults and recall targets: what a user is likely to set.
std::vector<SearchPoint> TesseraTargets();

// TesseraTargets, then numbers of lists with the rerank depth the engine chooses itself, and with
// depths of our own: the parameter sweep that the defaults are judged by.
std::vector<SearchPoint> TesseraSweep();

// Errors: kInvalidArgument for a parameter other than recall_target, nprobe, oversampling, exact.
absl::StatusOr<db::SearchParams> TesseraParams(const SearchPoint& point, uint32_t limit);

// The ids of the hits, best first. Errors: kInternal for an id that is not a number.
absl::Status TakeIds(const db::SearchResult& result, std::vector<uint64_t>* ids);

// Bytes of all files below `directory`.
uint64_t DirectoryBytes(const std::string& directory);

// Asks the kernel to forget what it caches of the files below `directory`.
void DropFileCache(const std::string& directory);

}  // namespace tessera::bench
