#include "db/collection.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "db/publish/absorption.h"
#include "db/publish/publisher.h"
#include "db/publish/row_ranges.h"
#include "db/recovery.h"
#include "storage/manifest.h"

namespace tessera::db {

using storage::Durability;
using storage::Table;
using storage::WriteSet;

namespace {

// A view this old is replaced by one of now.
constexpr auto kViewAge = std::chrono::seconds(30);

uint64_t PlaneBytes(const storage::VersionRecord& record) {
  uint64_t bytes = 0;
  for (const auto& [plane, extents] : record.planes) {
    for (const storage::ExtentRef& extent : extents) bytes += extent.bytes;
  }
  for (const auto& [blob, extent] : record.blobs) bytes += extent.bytes;
  return bytes;
}

}  // namespace

absl::StatusOr<std::shared_ptr<StoredCollection>> StoredCollection::Open(
    Engine& engine, const CollectionRecord& record, bool background) {
  auto collection =
      std::shared_ptr<StoredCollection>(new StoredCollection(engine, record, background));
  collection->core_.holder = collection;
  const absl::StatusOr<Recovered> recovered = Recover(collection->core_);
  if (!recovered.ok()) {
    const absl::Status& status = recovered.status();
    return absl::Status(status.code(), absl::StrCat("opening collection \"", record.schema.name,
                                                    "\": ", status.message()));
  }
  if (background && recovered->has_garbage) {
    engine.scheduler.Submit(
        {.owner = SweepOwner(record.uid),
         .length = JobLength::kLong,
         .urgency = kUrgencyRoutine,
         .what = absl::StrCat("sweeping collection \"", record.schema.name, "\""),
         .run = [weak = collection->weak_from_this()] {
           const auto self = weak.lock();
           return self == nullptr ? absl::OkStatus() : self->SweepInBackground();
         }});
  }
  return collection;
}

absl::Status StoredCollection::SweepInBackground() {
  TESSERA_RETURN_IF_ERROR(SweepFresh(core_, {}));
  return SweepTombstones(core_);
}

absl::StatusOr<std::shared_ptr<const ReadView>> StoredCollection::LiveView() const {
  TESSERA_RETURN_IF_ERROR(core_.CheckLive());
  std::shared_ptr<const ReadView> view = core_.View();
  if (view != nullptr) return view;
  TESSERA_RETURN_IF_ERROR(core_.CheckLive());
  return absl::FailedPreconditionError("the database is closed");
}

void StoredCollection::Cancel() {
  core_.stopping.store(true);
  base::MutexLock lock(&load_mu_);
  if (load_cancelled_ != nullptr) load_cancelled_->store(true);
}

void StoredCollection::WaitAndRelease() {
  WorkLock work(&core_.work);
  base::MutexLock lock(&core_.write_mu);
  core_.Release();
}

void StoredCollection::MarkDropped() {
  core_.dropped.store(true);
  Cancel();
  base::MutexLock lock(&core_.write_mu);
  core_.Release();
}

absl::Status StoredCollection::RemoveRows() {
  if (!core_.work.TryLock()) {
    return absl::UnavailableError("its last load or absorption has not ended yet");
  }
  const absl::Status status = WithoutExceptions("removing rows", [&] {
    return RemoveDropped(engine_, record_.uid, [&] { return engine_.CheckOpen(); });
  });
  core_.work.Unlock();
  engine_.files->RemoveUnused().IgnoreError();
  return status;
}

absl::Status RemoveDropped(Engine& engine, uint32_t uid, absl::FunctionRef<absl::Status()> go_on) {
  for (const Table table :
       {Table::kPoints, Table::kIds, Table::kFresh, Table::kLocations, Table::kManifest}) {
    TESSERA_RETURN_IF_ERROR(DeleteKeys(*engine.rows, table, UidKey(uid), {}, go_on));
  }
  WriteSet writes;
  writes.Delete(Table::kCatalog, AbsorbedEndKey(uid));
  writes.Delete(Table::kCatalog, ReservedRowsKey(uid));
  writes.Delete(Table::kCatalog, DroppedKey(uid));
  return engine.rows->Write(writes, Durability::kBuffered);
}

absl::Status StoredCollection::Absorb() {
  {
    WorkLock work(&core_.work);
    TESSERA_RETURN_IF_ERROR(core_.CheckWorking());
    std::shared_ptr<const ReadView> view = core_.View();
    if (view == nullptr) return absl::CancelledError("the database is closed");
    const MaintenanceAction action = DecideAbsorbNow(core_.Numbers(*view));
    view.reset();  // it would keep the files of what is replaced
    TESSERA_RETURN_IF_ERROR(RunMaintenance(core_, action));
  }
  RequestMaintenance();
  return absl::OkStatus();
}

void StoredCollection::RequestMaintenance() {
  if (!background_) return;
  const std::shared_ptr<const ReadView> view = core_.View();
  if (view == nullptr) return;
  const MaintenanceNumbers numbers = core_.Numbers(*view);
  if (!numbers.largest_holder && numbers.all_fresh_bytes >= numbers.fresh_bytes_max / 2) {
    // The memory is running out and another has most of it.
    const std::shared_ptr<FreshHolder> largest = engine_.fresh->Largest();
    if (largest != nullptr && largest.get() != this) largest->RequestMaintenance();
  }
  const MaintenanceDecision decision = DecideMaintenance(numbers);
  if (decision.action == MaintenanceAction::kNothing) return;
  const JobLength length = LengthOf(decision.action, numbers, core_.FreshBytes(1, 0));
  engine_.scheduler.Submit(
      {.owner = record_.uid,
       .length = length,
       .urgency = decision.urgency,
       .what = absl::StrCat("maintenance of collection \"", schema().name, "\""),
       .run = [weak = weak_from_this(), length] {
         const auto self = weak.lock();
         return self == nullptr ? absl::OkStatus() : self->Maintain(length);
       }});
}

// Asks again what is due: that may have changed since the job was submitted.
absl::Status StoredCollection::Maintain(JobLength allowed) {
  // Who holds the slot asks again when it is done.
  if (!core_.work.TryLock()) return absl::OkStatus();
  const absl::Status status = WithoutExceptions("maintenance", [&]() -> absl::Status {
    std::shared_ptr<const ReadView> view = core_.View();
    if (view == nullptr) return absl::OkStatus();
    const MaintenanceNumbers numbers = core_.Numbers(*view);
    view.reset();
    const MaintenanceDecision decision = DecideMaintenance(numbers);
    const JobLength length = LengthOf(decision.action, numbers, core_.FreshBytes(1, 0));
    if (length == JobLength::kLong && allowed == JobLength::kShort) return absl::OkStatus();
    return RunMaintenance(core_, decision.action);
  });
  core_.work.Unlock();
  if (status.ok()) RequestMaintenance();
  return status;
}

void StoredCollection::Tend() {
  core_.RefreshView(kViewAge);
  RequestMaintenance();
}

absl::StatusOr<uint64_t> StoredCollection::Count() {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ReadView> view, LiveView());
  return view->point_count;
}

absl::StatusOr<CollectionStats> StoredCollection::Stats() {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ReadView> view, LiveView());
  CollectionStats stats{.schema = schema(), .points = view->point_count, .fields = {}};
  for (const FieldView& field : view->fields) {
    FieldStats& out = stats.fields.emplace_back();
    out.schema = field.search.field;
    out.fresh_rows = field.search.fresh.live_count();
    if (field.index == nullptr) continue;
    out.lists = field.search.index->list_count();
    out.absorbed_rows = view->point_count - out.fresh_rows;
    out.memory_bytes = field.index->memory_bytes();
    out.disk_bytes = PlaneBytes(field.index->record);
    out.default_nprobe = field.search.index->calibration.ForTarget(kDefaultRecall, 10).nprobe;
  }
  return stats;
}

}  // namespace tessera::db
