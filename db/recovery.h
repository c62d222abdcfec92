// Opening a collection: its state from what the stores hold.
//
// Threads: free function; nobody else uses the collection yet.
#pragma once

#include "absl/status/statusor.h"

#include "db/collection_core.h"

namespace tessera::db {

struct Recovered {
  bool has_garbage = false;  // rows that a sweep should remove, see db/publish/publisher.h
};

// Where fresh rows find no room, those of whoever has most are absorbed first, this collection
// included: what was written under a larger limit opens under a smaller one.
//
// Errors: kDataLoss; kResourceExhausted; those of an absorption.
// Cost:   reads heads, list map, tombstones and fresh rows; memory for a portion of them.
absl::StatusOr<Recovered> Recover(CollectionCore& core);

}  // namespace tessera::db
