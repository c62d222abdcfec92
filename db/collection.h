// A collection on disk: the interface of db/database.h over the parts that do the work.
//
//   db/collection_core.h   state, locks, read view
//   db/collection_write.cc the write path
//   db/collection_read.cc  the read path
//   db/recovery.h          what an open finds
//   db/publish/absorption.h        maintenance, db/jobs/maintenance_policy.h says when
//   db/bulk_loader.h       loads
//
// Threads: every call from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/mutex.h"
#include "db/collection_core.h"
#include "db/database.h"
#include "db/engine.h"
#include "db/filters/filtering.h"
#include "db/jobs/fresh_budget.h"
#include "db/read_view.h"
#include "db/records.h"

namespace tessera::db {

// Owners of jobs beside a collection's maintenance, whose owner is its uid.
inline uint64_t SweepOwner(uint32_t uid) {
  return uint64_t{1} << 32 | uid;
}
inline uint64_t DropOwner(uint32_t uid) {
  return uint64_t{2} << 32 | uid;
}

class StoredCollection final : public Collection,
                               public FreshHolder,
                               public std::enable_shared_from_this<StoredCollection> {
 public:
  // Recovers the collection from what the stores hold; `engine` outlives the result.
  // Errors: kDataLoss; kResourceExhausted. Cost: as Recover.
  static absl::StatusOr<std::shared_ptr<StoredCollection>> Open(Engine& engine,
                                                                const CollectionRecord& record,
                                                                bool background);

  // The catalog has it no more: every later call is refused, long work ends soon, memory is given
  // back. Waits for nothing but a write under way.
  void MarkDropped();
  // Removes what a dropped collection has left in the row store. Errors: kUnavailable while its
  // long work has not ended: to be tried again.
  absl::Status RemoveRows();
  // Tells long work to end. WaitAndRelease waits for that and lets go of all state.
  void Cancel();
  void WaitAndRelease();

  // Asks the policy, and the scheduler for what it says.
  void RequestMaintenance() override;
  // For the timer: that, and a view of now if it is old.
  void Tend();
  // A view of now, so that the row store can forget what was removed before.
  void RefreshView() { core_.RefreshView({}); }

  absl::Status AbsorbFresh() override { return Absorb(); }

  const base::CollectionSchema& schema() const override { return record_.schema; }
  uint32_t uid() const { return record_.uid; }
  absl::StatusOr<UpsertOutcome> Upsert(std::vector<Point> points, Ack ack) override;
  absl::StatusOr<uint64_t> Delete(std::span<const base::PointId> ids, Ack ack) override;
  absl::StatusOr<uint64_t> SetPayload(std::span<const base::PointId> ids,
                                      const base::Value& payload, Ack ack) override;
  absl::StatusOr<std::vector<StoredPoint>> Get(std::span<const base::PointId> ids,
                                               Projection with) override;
  absl::StatusOr<ScrollPage> ScrollWhere(const ScrollParams& params) override;
  absl::StatusOr<uint64_t> Count() override;
  absl::StatusOr<CountResult> CountWhere(const CountParams& params) override;
  absl::StatusOr<FacetResult> Facet(const FacetParams& params) override;
  absl::StatusOr<ChangeResult> DeleteWhere(const FilterText& filter, Ack ack) override;
  absl::StatusOr<ChangeResult> SetPayloadWhere(const FilterText& filter, const base::Value& payload,
                                               Ack ack) override;
  absl::StatusOr<SearchResult> Search(std::span<const float> query,
                                      const SearchParams& params) override;
  absl::Status SearchBatch(std::span<const float> queries, const SearchParams& params,
                           const BatchSink& sink) override;
  absl::StatusOr<BulkLoadOutcome> BulkLoad(const PointSource& source,
                                           const BulkLoadOptions& options) override;
  absl::Status Absorb() override;
  absl::StatusOr<CollectionStats> Stats() override;

 private:
  StoredCollection(Engine& engine, const CollectionRecord& record, bool background)
      : engine_(engine), record_(record), background_(background), core_(engine, record) {}

  absl::StatusOr<std::shared_ptr<const ReadView>> LiveView() const;  // kNotFound once dropped
  absl::StatusOr<SearchResult> SearchIn(const ReadView& view, size_t field,
                                        std::span<const float> query, const SearchParams& params,
                                        const BoundFilter* filter);
  // Null for no filter.
  absl::StatusOr<std::unique_ptr<BoundFilter>> BindFilter(const ReadView& view, size_t field,
                                                          const ParsedFilter* filter,
                                                          const StopCondition& stop);
  absl::Status Acknowledge(Ack ack) const;
  absl::StatusOr<ChangeResult> ChangeWhere(
      const FilterText& text, size_t portion,
      absl::FunctionRef<absl::StatusOr<uint64_t>(std::span<const base::PointId> ids,
                                                 std::span<const base::RowId> rows)>
          change);
  absl::StatusOr<uint64_t> DeleteRows(std::span<const base::PointId> ids,
                                      std::span<const base::RowId> rows, Ack ack);
  absl::StatusOr<uint64_t> SetPayloadOfRows(std::span<const base::PointId> ids,
                                            std::span<const base::RowId> rows,
                                            const base::Value& payload, Ack ack);
  absl::Status Maintain(JobLength allowed) ABSL_LOCKS_EXCLUDED(core_.work);
  absl::Status SweepInBackground() ABSL_LOCKS_EXCLUDED(core_.work);
  absl::StatusOr<BulkLoadOutcome> LoadLocked(const PointSource& source,
                                             const BulkLoadOptions& options,
                                             const std::atomic<bool>& cancelled)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(core_.work) ABSL_LOCKS_EXCLUDED(core_.write_mu);
  void SetLoadCancelled(std::atomic<bool>* cancelled) ABSL_LOCKS_EXCLUDED(load_mu_);

  Engine& engine_;
  const CollectionRecord record_;
  const bool background_;
  CollectionCore core_;

  base::Mutex load_mu_;  // nothing else is locked under it
  std::atomic<bool>* load_cancelled_ ABSL_GUARDED_BY(load_mu_) = nullptr;  // of a load under way
};

// Removes every row of a collection that no longer is in the catalog. `go_on` as in DeleteKeys.
absl::Status RemoveDropped(Engine& engine, uint32_t uid, absl::FunctionRef<absl::Status()> go_on);

}  // namespace tessera::db
