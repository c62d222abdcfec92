#include "db/publish/publisher.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "db/publish/row_ranges.h"
#include "storage/manifest.h"

namespace tessera::db {
namespace {

using storage::Durability;
using storage::Table;
using storage::WriteSet;

constexpr size_t kSweepRows = 4096;

void WriteManifests(uint32_t uid, const NewVersions& versions, WriteSet* writes) {
  for (size_t field = 0; field < versions.indexes.size(); ++field) {
    const std::string key = FieldKey(uid, static_cast<uint8_t>(field));
    if (versions.indexes[field] == nullptr) {
      writes->Delete(Table::kManifest, key);
    } else {
      writes->Put(Table::kManifest, key,
                  storage::EncodeVersionRecord(versions.indexes[field]->record));
    }
  }
  // Outlives the versions: without any, rows below are not fresh either.
  writes->Put(Table::kCatalog, AbsorbedEndKey(uid), EncodeRow(versions.absorbed_end));
}

}  // namespace

void Publisher::Begin(base::RowId end, WriterState& state) const {
  state.BeginAbsorb(end, std::make_unique<RowList>(core_.engine.versions));
}

absl::Status Publisher::MarkNotedDeaths(RowList& deaths) {
  return deaths.ForEachPortion([&](std::span<const base::RowId> rows) -> absl::Status {
    Indexes indexes;
    {
      base::MutexLock lock(&core_.write_mu);
      indexes = core_.state.pending().indexes;
    }
    for (size_t field = 0; field < indexes.size(); ++field) {
      TESSERA_ASSIGN_OR_RETURN(const std::vector<uint64_t> positions,
                               FindPositions(indexes[field].get(), rows));
      base::MutexLock lock(&core_.write_mu);
      core_.state.MarkPendingDead(field, positions);
    }
    return absl::OkStatus();
  });
}

absl::Status Publisher::Install(NewVersions* replaced) {
  base::MutexLock lock(&core_.write_mu);
  TESSERA_RETURN_IF_ERROR(core_.CheckWorking());
  WriteSet writes;
  WriteManifests(core_.record.uid, core_.state.pending(), &writes);
  TESSERA_RETURN_IF_ERROR(core_.engine.rows->Write(writes, Durability::kBuffered));
  *replaced = core_.state.InstallPending();
  core_.ReserveFresh(0).IgnoreError();  // shrinks
  core_.PublishView();
  return absl::OkStatus();
}

absl::Status Publisher::Publish(NewVersions versions) {
  std::unique_ptr<RowList> deaths;
  base::RowId first_fresh;
  {
    base::MutexLock lock(&core_.write_mu);
    first_fresh = core_.state.absorbed_end();
    deaths = core_.state.SetPending(std::move(versions));
  }
  TESSERA_RETURN_IF_ERROR(MarkNotedDeaths(*deaths));
  deaths.reset();

  NewVersions replaced;  // and the writers of the new versions
  absl::Status status = Install(&replaced);
  if (!status.ok()) {
    if (absl::IsNotFound(status) || absl::IsCancelled(status)) return status;
    std::unique_ptr<NewVersions> failed;
    {
      base::MutexLock lock(&core_.write_mu);
      failed = core_.state.EndAbsorb();
    }
    return core_.engine.files->Publish(std::move(failed->writers), [&] { return status; });
  }
  if (const auto view = core_.View(); view != nullptr) view->AdoptFrames();
  status = core_.engine.files->Publish(std::move(replaced.writers),
                                       [&] { return core_.engine.rows->SyncLog(); });
  if (!status.ok()) {
    // A power cut may bring the old versions back: their files stay as long as the process.
    core_.engine.KeepForever(std::move(replaced.indexes));
    return status;
  }
  replaced = {};
  core_.engine.files->RemoveUnused().IgnoreError();
  // The publish is done; what fails of the rest is done at the next open.
  SweepFresh(core_, first_fresh).IgnoreError();
  return absl::OkStatus();
}

void Publisher::End(const absl::Status& status) {
  std::unique_ptr<NewVersions> failed;
  {
    base::MutexLock lock(&core_.write_mu);
    failed = core_.state.EndAbsorb();
  }
  failed.reset();
  if (!status.ok()) core_.engine.files->RemoveUnused().IgnoreError();
}

absl::Status Publisher::PublishLoaded(NewVersions versions, uint64_t points_added,
                                      absl::FunctionRef<absl::Status()> commit) {
  TESSERA_RETURN_IF_ERROR(core_.CheckWorking());
  // Leases of the versions hold the files afterwards.
  TESSERA_RETURN_IF_ERROR(core_.engine.files->Publish(std::move(versions.writers), commit));
  Indexes replaced;
  {
    base::MutexLock lock(&core_.write_mu);
    TESSERA_RETURN_IF_ERROR(core_.CheckLive());
    replaced = core_.state.InstallLoaded(std::move(versions), points_added);
    core_.PublishView();
  }
  replaced.clear();
  if (const auto view = core_.View(); view != nullptr) view->AdoptFrames();
  core_.engine.files->RemoveUnused().IgnoreError();
  return absl::OkStatus();
}

absl::Status SweepFresh(CollectionCore& core, base::RowId first) {
  base::RowId end;
  {
    base::MutexLock lock(&core.write_mu);
    end = core.state.absorbed_end();
  }
  for (size_t field = 0; field < core.schema().vectors.size(); ++field) {
    const auto number = static_cast<uint8_t>(field);
    TESSERA_RETURN_IF_ERROR(DeleteKeys(*core.engine.rows, Table::kFresh,
                                       FieldKey(core.record.uid, number),
                                       {.first = FreshKey(core.record.uid, number, first),
                                        .end = FreshKey(core.record.uid, number, end)},
                                       [&] { return core.CheckWorking(); }));
  }
  return absl::OkStatus();
}

// A row that is below the view's absorbed end and in none of its lists will never be in one again.
absl::Status SweepTombstones(CollectionCore& core) {
  const std::shared_ptr<const ReadView> view = core.View();
  if (view == nullptr) return core.CheckLive();
  const std::string prefix = UidKey(core.record.uid);
  const version::IndexVersion* const index = view->fields[0].index.get();
  base::RowId next;
  while (true) {
    TESSERA_RETURN_IF_ERROR(core.CheckWorking());
    std::vector<base::RowId> rows;
    // A new iterator for each portion: an old one keeps the row store from forgetting anything.
    const auto it = core.engine.rows->NewIterator(Table::kLocations, prefix);
    it->Seek(RowKey(core.record.uid, next));
    for (; it->Valid() && rows.size() < kSweepRows; it->Next()) {
      TESSERA_ASSIGN_OR_RETURN(const base::RowId row, RowOfKey(it->key()));
      if (row >= view->absorbed_end) break;
      rows.push_back(row);
    }
    TESSERA_RETURN_IF_ERROR(it->status());
    if (rows.empty()) return absl::OkStatus();
    std::vector<std::optional<uint64_t>> places(rows.size());
    if (index != nullptr) {
      TESSERA_ASSIGN_OR_RETURN(places, index->Locate(rows));
    }
    WriteSet writes;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (!places[i].has_value())
        writes.Delete(Table::kLocations, RowKey(core.record.uid, rows[i]));
    }
    if (!writes.empty()) {
      TESSERA_RETURN_IF_ERROR(core.engine.rows->Write(writes, Durability::kBuffered));
    }
    next = {rows.back().value + 1};
  }
}

}  // namespace tessera::db
