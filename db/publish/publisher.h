// Makes new index versions those of a collection: for absorptions and loads alike.
//
// A publish writes its record to the log and installs the versions under the write lock; the log is
// synced after that, outside. The log is in order: if a power cut loses the publish, it loses
// whatever was written after it as well. What the publish made obsolete is removed only once it is
// durable: extent files, then the fresh copies of absorbed rows and tombstones of rows that no list
// has, in portions that block nobody. A crash in between leaves some of these behind; the next open
// passes them over, and a sweep removes them.
//
// Threads: one at a time; the collection's work slot is held.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "base/types.h"
#include "db/collection_core.h"
#include "db/publish/new_versions.h"

namespace tessera::db {

class Publisher {
 public:
  explicit Publisher(CollectionCore& core) : core_(core) {}

  // Begins to note deaths of rows below `end`: under the write lock, together with taking the view
  // that the versions are built from. `state` is the collection's.
  void Begin(base::RowId end, WriterState& state) const;
  // Publishes versions built from that view. Errors: nothing is published, or, after an error of
  // the file system, the publish may be found done when the directory is opened again.
  absl::Status Publish(NewVersions versions) ABSL_LOCKS_EXCLUDED(core_.write_mu);
  // Ends what Begin began; after a failure the finished files of the versions go, too.
  void End(const absl::Status& status) ABSL_LOCKS_EXCLUDED(core_.write_mu);

  // Publishes a load, whose `commit` writes everything and is durable when it returns. Writes are
  // refused meanwhile, so it needs no lock.
  absl::Status PublishLoaded(NewVersions versions, uint64_t points_added,
                             absl::FunctionRef<absl::Status()> commit)
      ABSL_LOCKS_EXCLUDED(core_.write_mu);

 private:
  absl::Status MarkNotedDeaths(RowList& deaths);
  absl::Status Install(NewVersions* replaced);

  CollectionCore& core_;
};

// Removes fresh copies of rows that are in lists, from row `first` on. Cost: portions of I/O.
absl::Status SweepFresh(CollectionCore& core, base::RowId first);
// Removes tombstones of rows that no list of the current version has.
absl::Status SweepTombstones(CollectionCore& core);

}  // namespace tessera::db
