// The first passes of an index build: heads and codec from a sample of the rows, then every row's
// list.
//
// Threads: free functions; they use up to thread_count threads themselves.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/schema.h"
#include "index/codecs/codec.h"
#include "index/heads/head_index.h"
#include "version/build/build_pace.h"
#include "version/build/record_spool.h"
#include "version/build/row_partition.h"

namespace tessera::version {

struct TrainingOptions {
  uint32_t thread_count = 0;
  uint64_t memory_bytes = 0;
  uint64_t seed = 1;
  std::function<void(std::string_view phase, uint64_t done, uint64_t total)> progress = {};
  BuildPace pace = {};
};

// Raw records of a field, in the order of their rows.
struct FieldRecords {
  const base::VectorFieldSchema& field;
  const RecordSpool& records;
};

struct IndexModel {
  std::vector<float> trained_heads;         // [head_count x dim] what `heads` was built from
  std::unique_ptr<index::HeadIndex> heads;  // spreads unknown
  std::unique_ptr<index::Codec> codec;
};

// Clusters a uniform sample, or all rows if they are few and fit, and trains the codec on it. The
// result depends on rows, seed and memory_bytes only.
//
// Pre:    at least one record.
// Errors: kCancelled; those of the file system; kInternal from LAPACK.
// Memory: about 2/3 of memory_bytes: the sample as f32 and a few times the heads.
absl::StatusOr<IndexModel> TrainModel(const FieldRecords& rows, const TrainingOptions& options);

struct Assignment {
  std::vector<uint32_t> list_rows;
  std::vector<double> list_distance2;  // sum of |row - head|^2
};

// Assigns every row to its nearest head (of the decoded ones) and appends it to `lists`.
//
// Memory: the heads three times and a batch of rows, about 1/6 of memory_bytes.
absl::StatusOr<Assignment> AssignRows(const FieldRecords& rows, const index::HeadIndex& heads,
                                      const TrainingOptions& options, AssignmentSpool* lists);

// The same heads with the spreads of the lists.
std::unique_ptr<index::HeadIndex> WithSpreads(const IndexModel& model, const Assignment& assignment,
                                              const TrainingOptions& options);

}  // namespace tessera::version
