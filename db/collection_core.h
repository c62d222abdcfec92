// What the parts of a collection share: its state, its locks and its read view.
//
// Locks, in the order they are taken:
//   work      the right to absorb or load, held for minutes; nobody waits for it but who asks for
//             an absorption or a load
//   ids       of the points a write is about, from its look-ups to its end
//   write_mu  the writer's state: held for one batch of the row store that is not synced and the
//             same change in memory, never for a read or a sync of the disk
//   view_mu   the read view's pointer; readers take it alone, for a pointer copy
//
// Threads: every call from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/mutex.h"
#include "db/engine.h"
#include "db/id_locks.h"
#include "db/jobs/fresh_budget.h"
#include "db/jobs/maintenance_policy.h"
#include "db/jobs/work_slot.h"
#include "db/read_view.h"
#include "db/records.h"
#include "db/writer_state.h"

namespace tessera::db {

struct CollectionCore {
  CollectionCore(Engine& open_engine, const CollectionRecord& collection_record)
      : engine(open_engine), record(collection_record), state(collection_record.schema) {}

  const base::CollectionSchema& schema() const { return record.schema; }

  // Errors: kNotFound once dropped.
  absl::Status CheckLive() const;
  // The same, and kCancelled when the database closes.
  absl::Status CheckWorking() const;
  // Errors: kNotFound; kUnavailable when the database closes or a bulk load is under way.
  absl::Status CheckWritable() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu);

  // Null once closed or dropped.
  std::shared_ptr<const ReadView> View() const ABSL_LOCKS_EXCLUDED(view_mu);
  void PublishView() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu);
  // Publishes the same state anew if its view is older than `age`: the row store keeps what others
  // delete for as long as a view from before is there.
  void RefreshView(std::chrono::steady_clock::duration age) ABSL_LOCKS_EXCLUDED(write_mu);
  // Lets go of all rows and versions.
  void Release() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu);

  // Memory that fresh rows are charged; field_bytes: of their field records.
  uint64_t FreshBytes(uint64_t rows, uint64_t field_bytes) const;
  // Charges what is fresh and `more_bytes`. Errors: kResourceExhausted.
  absl::Status ReserveFresh(uint64_t more_bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu);

  MaintenanceNumbers Numbers(const ReadView& view) const;

  Engine& engine;
  const CollectionRecord record;
  std::weak_ptr<FreshHolder> holder;  // the collection; set once
  std::atomic<bool> dropped{false};
  std::atomic<bool> stopping{false};  // dropped, or the database closes: long work ends

  WorkSlot work;
  IdLocks ids;
  base::Mutex write_mu ABSL_ACQUIRED_AFTER(work);
  WriterState state ABSL_GUARDED_BY(write_mu);
  mutable base::Mutex view_mu ABSL_ACQUIRED_AFTER(write_mu);
  std::shared_ptr<const ReadView> view ABSL_GUARDED_BY(view_mu);
  std::chrono::steady_clock::time_point view_time ABSL_GUARDED_BY(view_mu);
};

}  // namespace tessera::db
