// Builds index versions from raw records: whole ones, and ones with rows absorbed into them.
//
// A build writes new extent files only; nothing of it counts until the caller publishes the record.
// A version lists parts (version/index_version.h); positions are never renumbered from a version to
// the one appended to it, so dead bits and row locations stay right.
//
// Threads: free functions that use up to options.threads threads; any number may run at once.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/schema.h"
#include "query/live_bitmap.h"
#include "storage/extent_store.h"
#include "storage/manifest.h"
#include "version/build/record_spool.h"
#include "version/columns/field_source.h"
#include "version/context.h"
#include "version/index_version.h"

namespace tessera::version {

// The newest part of a list is written anew together with the rows appended to the list while it
// has no more live rows than this: lists do not break up into many small parts.
inline constexpr uint32_t kTailRowsMax = 128;

struct BuildOptions {
  int threads = 0;            // 0: one per core
  uint64_t memory_bytes = 0;  // bound for all that the build allocates; the caller reserves it
  uint64_t seed = 1;          // the same rows, seed and memory give the same index
  // Phases "train", "assign", "write", "calibrate"; done and total in rows.
  std::function<void(std::string_view phase, uint64_t done, uint64_t total)> progress = {};
  const std::atomic<bool>* cancelled = nullptr;
  std::function<void()> yield = {};  // as BuildPace::yield
  // What filters can ask of the rows. Null: the new rows get no columns, and no filter finds them.
  FieldSource* fields = nullptr;
};

struct BuiltIndex {
  storage::VersionRecord record;
  // Finished; to be kept until the record is published.
  std::vector<std::unique_ptr<storage::ExtentWriter>> writers;
  // To open the record with: it has what the version shares with the one before, or with what was
  // opened to calibrate it. Keeps the memory of that charged.
  std::shared_ptr<const IndexVersion> base;
};

// Builds a version of all `records`: raw records (index/raw_plane.h), ascending row ids.
//
// External memory: a sample is clustered, rows are assigned in one pass, moved to the order of
// their lists through scratch files when they do not fit the memory, encoded and written, and the
// result is calibrated.
//
// Errors: kInvalidArgument without records; kCancelled; kResourceExhausted: no space or the budget
//         has no room for the new heads; kDataLoss. Files already written are removed.
absl::StatusOr<BuiltIndex> BuildIndex(Context& context, const base::VectorFieldSchema& field,
                                      const RecordSpool& records, uint64_t generation,
                                      const BuildOptions& options);

// Too many rows are much farther from their heads than those the lists were made of, and would be
// hard to find there: the index is to be built anew. Nothing was written.
struct RowsUnlikeIndex {
  uint64_t rows = 0;  // of all appends since the build, this one included
};

using AppendOutcome = std::variant<BuiltIndex, RowsUnlikeIndex>;

// Builds the version that has the rows of `current` and those of `records` (ascending row ids, not
// in `current`): heads and codec stay, rows are appended to the lists. Parts that have no live rows
// in `live` are left out, as are dead rows of tails that are written anew (kTailRowsMax). The
// calibration stays until the rows have grown by a quarter since it was measured.
//
// Counters of `current` that the builder does not know are kept.
// Errors: as BuildIndex; kResourceExhausted also when the positions are used up.
absl::StatusOr<AppendOutcome> AppendToIndex(Context& context,
                                            const std::shared_ptr<const IndexVersion>& current,
                                            const query::LiveBitmap& live,
                                            const RecordSpool& records, uint64_t generation,
                                            const BuildOptions& options);

// Builds the version that has the rows of `current` and a calibration measured on those that are
// live in `live`. Everything else, counters too, stays. Errors: as BuildIndex.
absl::StatusOr<BuiltIndex> RecalibrateIndex(Context& context,
                                            const std::shared_ptr<const IndexVersion>& current,
                                            const query::LiveBitmap& live, uint64_t generation,
                                            const BuildOptions& options);

}  // namespace tessera::version
