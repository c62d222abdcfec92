// What building a version anew and editing one have in common: training options, writers, parts,
// blobs, calibration.
//
// Threads: one at a time; uses up to training().thread_count itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"

#include "base/schema.h"
#include "index/codecs/codec.h"
#include "index/heads/head_index.h"
#include "query/live_bitmap.h"
#include "storage/extent_store.h"
#include "storage/manifest.h"
#include "version/build/index_builder.h"
#include "version/build/index_training.h"
#include "version/build/part_writer.h"
#include "version/build/row_partition.h"
#include "version/context.h"
#include "version/part_homes.h"

namespace tessera::version {

TrainingOptions ForTraining(const Context& context, const BuildOptions& options);

// Everything a build writes. Files of a build that fails are removed with their writers.
class VersionBuild {
 public:
  VersionBuild(Context& context, const base::VectorFieldSchema& field, const BuildOptions& options)
      : context_(context),
        field_(field),
        training_(ForTraining(context, options)),
        fields_(options.fields) {}

  const TrainingOptions& training() const { return training_; }
  storage::VersionRecord& record() { return built_.record; }
  storage::ExtentWriter& NewWriter() {
    return *built_.writers.emplace_back(context_.extents->NewWriter());
  }

  uint32_t PartRowsMax() const;
  absl::Status WriteBlob(storage::ExtentWriter& writer, storage::BlobKind kind,
                         std::string_view bytes);
  absl::Status WriteParts(std::span<const RowSource> sources, const PartPlan& plan,
                          const index::HeadIndex& heads, const index::Codec& codec,
                          const PlaneWriters& writers);
  // Writes the columns of the plan's rows, behind those of `current` if there is one: without the
  // rows of its parts that are `dropped`.
  absl::Status WriteColumns(std::span<const RowSource> sources, const PartPlan& plan,
                            const IndexVersion* current, const std::vector<bool>& dropped,
                            storage::ExtentWriter& writer);
  // Counters of parts with these homes. Pre: every entry of the record has one.
  void SetCounters(std::span<const PartHome> homes, size_t lists, uint64_t end_block);
  absl::Status Finish();
  // Measures the calibration of what was built; `current` and its live rows are null for a full
  // build.
  absl::Status Calibrate(const std::shared_ptr<const IndexVersion>& current,
                         const query::LiveBitmap* current_live);
  BuiltIndex Take() { return std::move(built_); }

 private:
  uint64_t EncodeBytes() const { return training_.memory_bytes / 5; }
  uint64_t EncodeRowBytes() const;
  uint32_t EncodeThreads() const;

  Context& context_;
  const base::VectorFieldSchema& field_;
  const TrainingOptions training_;
  FieldSource* const fields_;
  BuiltIndex built_;
  size_t finished_ = 0;
};

}  // namespace tessera::version
