// Room for fresh rows: when the budget is full, whoever has most absorbs first.
//
// Threads: as CollectionCore.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

#include "db/collection_core.h"

namespace tessera::db {

// Absorbs until there is room for `bytes` more of this collection's fresh rows, in the calling
// thread, and charges it for them. Another write of the collection may take that room; then it is
// made again.
//
// Errors: kResourceExhausted if nothing is left to absorb, or others have taken the room time and
//         again; those of the absorption; kCancelled, kNotFound as CheckWorking.
absl::Status MakeRoom(CollectionCore& core, uint64_t bytes);

}  // namespace tessera::db
