// The next index versions of a collection, built beside those that are published: the one place
// where db/ asks version/ to build.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"

#include "base/types.h"
#include "db/read_view.h"
#include "query/live_bitmap.h"
#include "storage/extent_store.h"
#include "version/build/index_builder.h"
#include "version/build/record_spool.h"
#include "version/context.h"
#include "version/index_version.h"

namespace tessera::db {

// Index versions of all fields; null where no row is live.
struct NewVersions {
  std::vector<std::shared_ptr<const version::IndexVersion>> indexes;
  std::vector<query::LiveBitmap> live;
  // Hold the files until the record that names them is durable.
  std::vector<std::unique_ptr<storage::ExtentWriter>> writers;
  base::RowId absorbed_end;
  uint64_t absorbed_sequence = 0;  // of the fresh rows that stay fresh
};

// Counter of a version record: rows that were dead when its calibration was measured.
inline constexpr char kDeadAtCalibrationCounter[] = "dead_at_calibration";
uint64_t Counter(const storage::VersionRecord& record, std::string_view name);

enum class NextVersion {
  kRebuild,      // of the spool's rows alone
  kAppend,       // the current one's rows and the spool's
  kRecalibrate,  // the current one's rows
};

// Adds the field's next version to `versions`. `live` are the live rows of `current`, which is null
// if there is none; what died since is to be marked later.
// Errors: as version::BuildIndex and its siblings; AreRowsUnlike.
absl::Status AddVersion(version::Context& context, const base::VectorFieldSchema& field,
                        const std::shared_ptr<const version::IndexVersion>& current,
                        const query::LiveBitmap& live, NextVersion how,
                        const version::RecordSpool& spool, const version::BuildOptions& options,
                        NewVersions* versions);

// Whether AddVersion has refused to append rows that are unlike those of the index: it is to be
// built anew.
bool AreRowsUnlike(const absl::Status& status);

// Positions of `rows` (any order) in an index, those it does not have left out. Null has none.
absl::StatusOr<std::vector<uint64_t>> FindPositions(const version::IndexVersion* index,
                                                    std::span<const base::RowId> rows);

}  // namespace tessera::db
