// What absorption and bulk loading share.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/memory_budget.h"
#include "base/schema.h"
#include "db/engine.h"
#include "db/read_view.h"
#include "db/record_spool.h"

namespace tessera::db {

// A spool in scratch/ for raw records of the field (index/raw_plane.h).
absl::StatusOr<std::unique_ptr<RecordSpool>> NewRecordSpool(Engine& engine,
                                                            const base::VectorFieldSchema& field);

// Adds the raw records of all live rows in the field's lists, ascending rows.
// Cost: an external sort of the records within `memory_bytes`.
absl::Status AppendLiveRecords(Engine& engine, const FieldView& view, uint64_t memory_bytes,
                               RecordSpool* spool);

// As much of the plan's share as the budget has now. Errors: kResourceExhausted if that is nearly
// nothing.
absl::StatusOr<base::MemoryReservation> ReserveBuildMemory(Engine& engine);

}  // namespace tessera::db
