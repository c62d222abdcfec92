// The work that a collection's maintenance does: fresh rows move into lists, an index is built or
// calibrated anew, an empty one goes. Everything is built beside what is there; readers and writers
// go on meanwhile.
//
// Threads: one at a time; the collection's work slot is held.
#pragma once

#include "absl/status/status.h"

#include "db/collection_core.h"
#include "db/jobs/job_queue.h"
#include "db/jobs/maintenance_policy.h"

namespace tessera::db {

// Does it to the collection as it is now. Errors: kCancelled, kNotFound when the database closes or
// the collection is dropped; those of builds and of the stores. Nothing has changed then, but see
// Publisher::Publish.
absl::Status RunMaintenance(CollectionCore& core, MaintenanceAction action);

// How long an action takes, in classes.
JobLength LengthOf(MaintenanceAction action, const MaintenanceNumbers& numbers, uint64_t row_bytes);

// Of a build of so many bytes.
JobLength LengthOfBuild(uint64_t bytes);

}  // namespace tessera::db
