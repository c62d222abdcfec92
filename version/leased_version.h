// Index versions that keep their extent files from being removed.
#pragma once

#include <memory>
#include <span>

#include "absl/status/statusor.h"

#include "base/schema.h"
#include "base/types.h"
#include "query/live_bitmap.h"
#include "storage/manifest.h"
#include "version/context.h"
#include "version/index_version.h"

namespace tessera::version {

// First row that no list of the version has.
inline constexpr char kAbsorbedEndCounter[] = "absorbed_end";

// As OpenIndexVersion; the files stay until the last pointer is gone.
// Pre: something keeps the files until the return: a writer, another version, or that nothing is
//      removed meanwhile.
absl::StatusOr<std::shared_ptr<const IndexVersion>> OpenLeasedVersion(
    Context& context, const base::VectorFieldSchema& field, storage::VersionRecord record,
    const OpenOptions& options = {});

// The version's live bitmap with the `dead` rows, ascending, that it has.
absl::StatusOr<query::LiveBitmap> LiveRows(const IndexVersion& version,
                                           std::span<const base::RowId> dead);

}  // namespace tessera::version
