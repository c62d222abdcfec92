// The memory of index builds.
#pragma once

#include "absl/status/statusor.h"

#include "base/memory_budget.h"
#include "db/engine.h"

namespace tessera::db {

// As much of the plan's share as the budget has now. Errors: kResourceExhausted if that is nearly
// nothing.
absl::StatusOr<base::MemoryReservation> ReserveBuildMemory(Engine& engine);

}  // namespace tessera::db
