// Spools of a vector field's raw records: what index builds read.
//
// Threads: free functions without shared state.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/schema.h"
#include "query/live_bitmap.h"
#include "version/build/record_spool.h"
#include "version/context.h"
#include "version/index_version.h"

namespace tessera::version {

// A spool in the scratch directory for raw records of the field (index/raw_plane.h).
absl::StatusOr<std::unique_ptr<RecordSpool>> NewRecordSpool(Context& context,
                                                            const base::VectorFieldSchema& field);

// Adds the raw records of all rows of the version that are live, ascending rows.
// Cost: an external sort of the records within `memory_bytes`. Errors: as ReadLiveRecords.
absl::Status AppendLiveRecords(Context& context, const IndexVersion& version,
                               const query::LiveBitmap& live, uint64_t memory_bytes,
                               RecordSpool* spool);

}  // namespace tessera::version
