// Encodes the parts of an index version and appends their planes to extent files.
//
// Parts are encoded in batches, on all threads, while the batch before is written: first the code
// planes of a batch, then its other planes (version/planes.h), one kind after the other, so that
// the code planes of neighbouring parts follow each other and one read fetches several.
//
// Threads: one at a time; uses up to thread_count itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/schema.h"
#include "index/codecs/codec.h"
#include "index/heads/head_index.h"
#include "storage/extent_store.h"
#include "storage/manifest.h"
#include "version/build/build_pace.h"
#include "version/build/row_partition.h"
#include "version/planes.h"

namespace tessera::version {

// Where each plane goes, in the order of PlanesOf; they may be the same writer.
using PlaneWriters = std::vector<storage::ExtentWriter*>;

struct PartWriterOptions {
  uint32_t thread_count = 0;
  uint64_t batch_bytes = 0;  // planes of one batch; two batches are in memory
  std::function<void(uint64_t rows)> written = {};  // called with the rows of each batch written
  BuildPace pace = {};
};

class PartWriter {
 public:
  // All arguments outlive the writer.
  PartWriter(const base::VectorFieldSchema& field, const index::HeadIndex& heads,
             const index::Codec& codec, const PlaneWriters& writers,
             const PartWriterOptions& options);

  // Encodes and writes the parts of one group, appending them to the record's entries.
  //
  // Errors: those of the extent writers; kCancelled.
  // Memory: two batches and, per thread, the rows of one part as f32.
  absl::Status Write(const PartPlan& plan, const RowGroup& group, storage::VersionRecord* record);

 private:
  struct Batch {
    uint32_t first_part = 0;
    uint32_t end_part = 0;
    std::vector<size_t> begins;  // in `bytes`, per part and plane
    std::vector<std::byte> bytes;

    uint32_t parts() const { return end_part - first_part; }
  };
  struct Scratch {
    std::vector<float> head;
    std::vector<float> rows;
    std::vector<std::byte> codes;
    std::vector<std::byte> fine;
  };

  // Lays out the next parts from `part` on, up to `end` at most.
  void Plan(const PartPlan& plan, uint32_t part, uint32_t end, Batch* batch) const;
  void Encode(const PartPlan& plan, const RowGroup& group, Batch* batch, uint32_t part,
              Scratch* scratch) const;
  absl::Status Append(const PartPlan& plan, const Batch& batch, storage::VersionRecord* record);

  const base::VectorFieldSchema& field_;
  const index::HeadIndex& heads_;
  const index::Codec& codec_;
  const std::vector<Plane> planes_;
  const PlaneWriters writers_;
  const PartWriterOptions options_;
  std::vector<Scratch> scratch_;  // per worker
  Batch batches_[2];
};

}  // namespace tessera::version
