// A collection on disk: the write path, read views, absorption and bulk loading.
//
// Every upsert gives its point a new row; the row it replaces is dead. Rows below `absorbed_end_`
// are in the lists of every vector field's index version, dead ones marked in its live bitmap and
// by a tombstone in the row store; rows from there on are fresh: their vectors are in the row store
// and in memory.
//
// Locks, in the order they are taken: maintenance_mu_ (one absorption or load at a time, held for
// its whole length), write_mu_ (the writer's state, held for one write or publish), view_mu_ (the
// read view's pointer). Readers take view_mu_ alone, for a pointer copy.
//
// Threads: every call from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/memory_budget.h"
#include "base/mutex.h"
#include "db/database.h"
#include "db/engine.h"
#include "db/read_view.h"
#include "db/records.h"
#include "query/fresh_view.h"
#include "query/live_bitmap.h"
#include "version/field_spool.h"
#include "version/index_builder.h"
#include "version/record_spool.h"

namespace tessera::db {

class StoredCollection final : public Collection,
                               public std::enable_shared_from_this<StoredCollection> {
 public:
  // Recovers the collection from what the stores hold; `engine` outlives the result.
  // Errors: kDataLoss. Cost: reads heads, list map, tombstones and fresh rows.
  static absl::StatusOr<std::shared_ptr<StoredCollection>> Open(Engine& engine,
                                                                const CollectionRecord& record,
                                                                bool background_absorb);

  // Removes it from the catalog with all it has. Waits for maintenance, which it cancels.
  absl::Status Drop();
  // Cancels maintenance, waits for its end and lets go of all state: every later call is refused.
  void Close();

  const base::CollectionSchema& schema() const override { return record_.schema; }
  absl::StatusOr<UpsertOutcome> Upsert(std::vector<Point> points, Ack ack) override;
  absl::StatusOr<uint64_t> Delete(std::span<const base::PointId> ids, Ack ack) override;
  absl::StatusOr<uint64_t> SetPayload(std::span<const base::PointId> ids,
                                      const base::Value& payload, Ack ack) override;
  absl::StatusOr<std::vector<StoredPoint>> Get(std::span<const base::PointId> ids,
                                               Projection with) override;
  absl::StatusOr<ScrollPage> Scroll(const std::optional<base::PointId>& offset, uint32_t limit,
                                    Projection with) override;
  absl::StatusOr<uint64_t> Count() override;
  absl::StatusOr<SearchResult> Search(std::span<const float> query,
                                      const SearchParams& params) override;
  absl::Status SearchBatch(std::span<const float> queries, const SearchParams& params,
                           const BatchSink& sink) override;
  absl::StatusOr<BulkLoadOutcome> BulkLoad(const PointSource& source,
                                           const BulkLoadOptions& options) override;
  absl::Status Absorb() override;
  absl::StatusOr<CollectionStats> Stats() override;

 private:
  friend class BulkLoader;

  // The writer's side of one vector field.
  struct FieldState {
    FieldState(base::VectorFieldSchema field, size_t vector_bytes)
        : schema(std::move(field)), fresh(vector_bytes) {}

    base::VectorFieldSchema schema;
    std::shared_ptr<const version::IndexVersion> index;
    query::LiveBitmap live;
    query::FreshRows fresh;
  };

  // Versions of a point grow because the rows it gets do.
  static uint64_t VersionOf(base::RowId row) { return row.value + 1; }

  // A point that a write replaces or deletes.
  struct OldRow {
    base::PointId id;
    base::RowId row;
  };

  // Index versions of all fields, ready to be published; null where no row is live.
  struct NewVersions {
    std::vector<std::shared_ptr<const version::IndexVersion>> indexes;
    std::vector<query::LiveBitmap> live;
    std::vector<std::unique_ptr<storage::ExtentWriter>> writers;
    base::RowId absorbed_end;
    uint64_t absorbed_sequence = 0;  // of the fresh rows that stay fresh
  };

  StoredCollection(Engine& engine, const CollectionRecord& record, bool background_absorb);

  // Parameters and query are valid.
  absl::StatusOr<SearchResult> SearchIn(const ReadView& view, size_t field,
                                        std::span<const float> query, const SearchParams& params);

  // Cancels absorptions and loads and waits for their end.
  void StopMaintenance() ABSL_LOCKS_EXCLUDED(maintenance_mu_, load_mu_);
  void ReleaseState() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);

  // Recovery.
  absl::Status Recover() ABSL_LOCKS_EXCLUDED(write_mu_);
  absl::Status RecoverIndexes() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  absl::Status RecoverTombstones() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  absl::Status RecoverFresh(size_t field) ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  absl::Status RemoveStaleFresh() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);

  // Writes.
  absl::Status CheckWritable() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  uint64_t FreshRowBytes() const;
  // Memory for what is fresh and `more_rows`.
  absl::Status ReserveFresh(uint64_t more_rows) ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  absl::StatusOr<UpsertOutcome> TryUpsert(const std::vector<Point>& points,
                                          const std::vector<std::string>& payloads)
      ABSL_LOCKS_EXCLUDED(write_mu_);
  absl::StatusOr<UpsertOutcome> WritePoints(const std::vector<Point>& points,
                                            const std::vector<std::string>& payloads)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  absl::StatusOr<base::RowId> AllocateRows(uint64_t count, storage::WriteSet* writes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  void TakeRows(uint64_t count) ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  // Those of the ids that there are, in order.
  absl::StatusOr<std::vector<OldRow>> FindRows(std::span<const base::PointId> ids) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  absl::Status MergePayloads(std::span<const OldRow> rows, const base::Value& payload,
                             storage::WriteSet* writes) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  // Positions of absorbed ones among the rows, per field.
  absl::StatusOr<std::vector<std::vector<uint64_t>>> LocateAbsorbed(std::span<const OldRow> old)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  void WriteDeaths(std::span<const OldRow> old, storage::WriteSet* writes) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  void ApplyDeaths(std::span<const OldRow> old, const std::vector<std::vector<uint64_t>>& positions)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  void AppendFresh(base::RowId row, const Point& point) ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  void RequestAbsorb() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  absl::Status Acknowledge(Ack ack) const;

  // Reads.
  absl::Status CheckLive() const;
  std::shared_ptr<const ReadView> View() const;
  absl::StatusOr<std::shared_ptr<const ReadView>> LiveView() const;  // kNotFound once dropped
  void PublishView() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);

  // Bulk loads.
  void SetLoadCancelled(std::atomic<bool>* cancelled) ABSL_LOCKS_EXCLUDED(load_mu_);
  absl::StatusOr<BulkLoadOutcome> LoadLocked(const PointSource& source,
                                             const BulkLoadOptions& options,
                                             const std::atomic<bool>& cancelled)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(maintenance_mu_) ABSL_LOCKS_EXCLUDED(write_mu_);

  // Maintenance.
  void AbsorbInBackground() ABSL_LOCKS_EXCLUDED(maintenance_mu_);
  absl::Status AbsorbLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(maintenance_mu_);
  // Absorbs the view's fresh rows, all of them below `end`.
  absl::Status AbsorbView(const ReadView& view, base::RowId end)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(maintenance_mu_);
  // False: as BuildField.
  absl::StatusOr<bool> AbsorbInto(const ReadView& view, base::RowId end, bool rebuild)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(maintenance_mu_);
  bool WantsRebuild(const ReadView& view) const;
  absl::Status AppendFreshRecords(const query::SearchView& view, version::RecordSpool* spool) const;
  version::BuildOptions MakeBuildOptions(uint64_t memory_bytes) const;
  // Adds the field's next version: the spool's rows alone, or appended to the view's.
  // False: the rows are unlike those of the index, it is to be built anew; nothing was added.
  absl::StatusOr<bool> BuildField(const FieldView& view, const version::RecordSpool& spool,
                                  bool rebuild, const version::BuildOptions& options,
                                  NewVersions* versions);
  // `rows` ascending.
  absl::Status MarkDead(std::span<const base::RowId> rows, NewVersions* versions) const;
  void WriteManifests(const NewVersions& versions, storage::WriteSet* writes) const;
  absl::Status PublishAbsorbed(NewVersions versions, bool rebuilt) ABSL_LOCKS_EXCLUDED(write_mu_);
  void InstallVersions(NewVersions* versions) ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mu_);
  absl::StatusOr<std::vector<base::RowId>> ReadTombstones(const storage::RowSnapshot* rows) const;

  Engine& engine_;
  const CollectionRecord record_;
  const bool background_absorb_;
  std::atomic<bool> dropped_{false};
  std::atomic<bool> stopping_{false};

  base::Mutex maintenance_mu_;
  base::Mutex write_mu_ ABSL_ACQUIRED_AFTER(maintenance_mu_);
  std::vector<FieldState> fields_ ABSL_GUARDED_BY(write_mu_);
  base::RowId next_row_ ABSL_GUARDED_BY(write_mu_);
  base::RowId reserved_end_ ABSL_GUARDED_BY(write_mu_);  // durable: no row beyond was given out
  base::RowId absorbed_end_ ABSL_GUARDED_BY(write_mu_);
  uint64_t point_count_ ABSL_GUARDED_BY(write_mu_) = 0;
  // Fresh rows -> their sequence in every field's FreshRows.
  std::unordered_map<uint64_t, uint64_t> fresh_sequence_ ABSL_GUARDED_BY(write_mu_);
  base::MemoryReservation fresh_memory_ ABSL_GUARDED_BY(write_mu_);
  absl::Time absorb_not_before_ ABSL_GUARDED_BY(write_mu_) = absl::InfinitePast();
  bool loading_ ABSL_GUARDED_BY(write_mu_) = false;
  // While rows are absorbed: those that died since the absorption's view was taken.
  bool note_deaths_ ABSL_GUARDED_BY(write_mu_) = false;
  std::vector<base::RowId> noted_deaths_ ABSL_GUARDED_BY(write_mu_);

  base::Mutex load_mu_;  // nothing else is locked under it
  std::atomic<bool>* load_cancelled_ ABSL_GUARDED_BY(load_mu_) = nullptr;  // of a load under way

  mutable base::Mutex view_mu_ ABSL_ACQUIRED_AFTER(write_mu_);
  std::shared_ptr<const ReadView> view_ ABSL_GUARDED_BY(view_mu_);
};

// Removes what a dropped collection has left in the row store.
absl::Status RemoveDropped(Engine& engine, uint32_t uid);

}  // namespace tessera::db
