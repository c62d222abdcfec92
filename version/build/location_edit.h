// The location table of an edited version: a segment of the new parts' rows before those of the
// current version, which become fewer when they are many.
//
// Threads: free functions.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "storage/extent_store.h"
#include "version/build/row_partition.h"
#include "version/build/version_edit.h"
#include "version/index_version.h"
#include "version/location_table.h"

namespace tessera::version {

// Writes the segments of the edited version, newest first.
// Memory: 16 bytes per row of sources that do not ascend.
absl::StatusOr<std::vector<LocationSegment>> WriteLocations(const IndexVersion& current,
                                                            const VersionEdit& edit,
                                                            const PartPlan& plan,
                                                            storage::ExtentWriter& writer);

}  // namespace tessera::version
