// Reads raw records back from an index version, past the page cache.
//
// Threads: free functions without shared state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "query/live_bitmap.h"
#include "version/context.h"
#include "version/index_version.h"

namespace tessera::version {

// Gets a live row: its part (in version.view->parts), its slot and its raw record, which is valid
// during the call only.
using LiveRecordVisitor = absl::FunctionRef<absl::Status(uint32_t part, uint32_t slot,
                                                         std::span<const std::byte> record)>;

// Visits the live rows of `parts`, part after part in that order, slots ascending.
//
// Errors: those of `visit`, which end the reading; kDataLoss for a damaged plane.
// Memory: a few megabytes, or twice the largest unit.
absl::Status ReadLiveRecordsOf(Context& context, const IndexVersion& version,
                               const query::LiveBitmap& live, std::span<const uint32_t> parts,
                               LiveRecordVisitor visit);

// The same of all parts, in an order of its own.
absl::Status ReadLiveRecords(
    Context& context, const IndexVersion& version, const query::LiveBitmap& live,
    absl::FunctionRef<absl::Status(std::span<const std::byte> record)> visit);

}  // namespace tessera::version
