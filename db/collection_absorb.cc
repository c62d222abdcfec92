// Absorption: fresh rows move into lists. Everything is built beside what is there and published in
// one synced write; readers and writers go on meanwhile.
#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/coding.h"
#include "base/status_macros.h"
#include "db/build_memory.h"
#include "db/collection.h"
#include "db/row_ranges.h"
#include "index/raw_plane.h"
#include "storage/manifest.h"
#include "version/leased_version.h"

namespace tessera::db {
namespace {

using storage::Durability;
using storage::Table;
using storage::WriteSet;

// An index is built anew once its rows have doubled, or this share of them is dead.
constexpr uint64_t kRebuildGrowth = 2;
constexpr double kRebuildDeadShare = 0.3;
constexpr absl::Duration kRetryDelay = absl::Seconds(10);

uint64_t Counter(const storage::VersionRecord& record, std::string_view name) {
  const auto it = record.counters.find(std::string(name));
  return it == record.counters.end() ? 0 : it->second;
}

uint64_t FreshCount(const ReadView& view) {
  const query::FreshView& fresh = view.fields[0].search.fresh;
  return fresh.end_sequence() - fresh.first_sequence();
}

}  // namespace

absl::Status StoredCollection::Absorb() {
  base::MutexLock maintenance(&maintenance_mu_);
  return AbsorbLocked();
}

void StoredCollection::AbsorbInBackground() {
  const absl::Status status = Absorb();
  if (status.ok() || absl::IsCancelled(status) || absl::IsNotFound(status)) return;
  std::fprintf(stderr, "tessera: absorbing rows of collection \"%s\" failed: %s\n",
               schema().name.c_str(), status.ToString().c_str());
  base::MutexLock lock(&write_mu_);
  absorb_not_before_ = absl::Now() + kRetryDelay;
}

absl::Status StoredCollection::AbsorbLocked() {
  std::shared_ptr<const ReadView> view;
  base::RowId end;
  {
    base::MutexLock lock(&write_mu_);
    TESSERA_RETURN_IF_ERROR(CheckLive());
    TESSERA_RETURN_IF_ERROR(engine_.CheckWritable());
    if (stopping_.load()) return absl::CancelledError("the database is closing");
    view = View();
    if (FreshCount(*view) == 0 && !WantsRebuild(*view)) return absl::OkStatus();
    end = next_row_;
    note_deaths_ = true;
    noted_deaths_.clear();
  }
  absl::Status status = AbsorbView(*view, end);
  base::MutexLock lock(&write_mu_);
  note_deaths_ = false;
  noted_deaths_ = {};
  return status;
}

bool StoredCollection::WantsRebuild(const ReadView& view) const {
  const FieldView& field = view.fields[0];
  if (field.index == nullptr) return FreshCount(view) > 0;
  const uint64_t rows = field.search.index->rows;
  const uint64_t live = view.point_count - field.search.fresh.live_count();
  return rows + FreshCount(view) >
             kRebuildGrowth * Counter(field.index->record, version::kBuiltRowsCounter) ||
         static_cast<double>(rows - std::min(live, rows)) >
             kRebuildDeadShare * static_cast<double>(rows);
}

absl::Status StoredCollection::AbsorbView(const ReadView& view, base::RowId end) {
  TESSERA_ASSIGN_OR_RETURN(const bool fits, AbsorbInto(view, end, WantsRebuild(view)));
  return fits ? absl::OkStatus() : AbsorbInto(view, end, /*rebuild=*/true).status();
}

absl::StatusOr<bool> StoredCollection::AbsorbInto(const ReadView& view, base::RowId end,
                                                  bool rebuild) {
  NewVersions versions;
  versions.absorbed_end = end;
  versions.absorbed_sequence = view.fields[0].search.fresh.end_sequence();
  TESSERA_ASSIGN_OR_RETURN(const base::MemoryReservation memory, ReserveBuildMemory(engine_));
  for (size_t field = 0; field < view.fields.size(); ++field) {
    TESSERA_ASSIGN_OR_RETURN(
        std::unique_ptr<version::RecordSpool> spool,
        version::NewRecordSpool(engine_.versions, view.fields[field].search.field));
    if (rebuild && view.fields[field].index != nullptr) {
      TESSERA_RETURN_IF_ERROR(version::AppendLiveRecords(
          engine_.versions, *view.fields[field].index, view.fields[field].search.live,
          memory.bytes() / 2, spool.get()));
    }
    TESSERA_RETURN_IF_ERROR(AppendFreshRecords(view.fields[field].search, spool.get()));
    TESSERA_RETURN_IF_ERROR(spool->FinishWriting());
    TESSERA_ASSIGN_OR_RETURN(const bool fits,
                             BuildField(view.fields[field], *spool, rebuild,
                                        MakeBuildOptions(memory.bytes()), &versions));
    if (!fits) return false;
  }
  TESSERA_RETURN_IF_ERROR(PublishAbsorbed(std::move(versions), rebuild));
  return true;
}

absl::Status StoredCollection::AppendFreshRecords(const query::SearchView& view,
                                                  version::RecordSpool* spool) const {
  std::vector<std::byte> record(index::RawRecordBytes(view.field));
  for (uint64_t i = view.fresh.first_sequence(); i < view.fresh.end_sequence(); ++i) {
    const std::optional<query::FreshRowRef> row = view.fresh.Row(i);
    if (!row.has_value()) continue;
    index::EncodeRawRecord(
        view.field,
        {.row = row->row, .version = row->version, .id = row->id, .vector = row->vector.data()},
        record.data());
    TESSERA_RETURN_IF_ERROR(spool->Append(record));
  }
  return absl::OkStatus();
}

version::BuildOptions StoredCollection::MakeBuildOptions(uint64_t memory_bytes) const {
  version::BuildOptions options;
  options.threads = engine_.threads;
  options.memory_bytes = memory_bytes;
  options.cancelled = &stopping_;
  return options;
}

absl::StatusOr<bool> StoredCollection::BuildField(const FieldView& view,
                                                  const version::RecordSpool& spool, bool rebuild,
                                                  const version::BuildOptions& options,
                                                  NewVersions* versions) {
  query::LiveBitmap live;
  std::shared_ptr<const version::IndexVersion> version;
  const bool append = !rebuild && view.index != nullptr;
  if (append && spool.record_count() == 0) {
    // All that was fresh has died: only the end of the absorbed rows moves.
    storage::VersionRecord record = view.index->record;
    record.counters[version::kAbsorbedEndCounter] = versions->absorbed_end.value;
    ++record.generation;
    TESSERA_ASSIGN_OR_RETURN(
        version, version::OpenLeasedVersion(engine_.versions, view.search.field, std::move(record),
                                            {.base = view.index}));
    live = view.search.live;
  } else if (spool.record_count() > 0) {
    const uint64_t generation = view.index == nullptr ? 1 : view.index->record.generation + 1;
    version::BuiltIndex built;
    if (append) {
      TESSERA_ASSIGN_OR_RETURN(
          version::AppendOutcome outcome,
          version::AppendToIndex(engine_.versions, view.index, view.search.live, spool, generation,
                                 options));
      if (std::holds_alternative<version::RowsUnlikeIndex>(outcome)) return false;
      built = std::get<version::BuiltIndex>(std::move(outcome));
    } else {
      TESSERA_ASSIGN_OR_RETURN(built, version::BuildIndex(engine_.versions, view.search.field,
                                                          spool, generation, options));
    }
    for (auto& writer : built.writers) versions->writers.push_back(std::move(writer));
    built.record.counters[version::kAbsorbedEndCounter] = versions->absorbed_end.value;
    TESSERA_ASSIGN_OR_RETURN(
        version,
        version::OpenLeasedVersion(engine_.versions, view.search.field, std::move(built.record),
                                   {.base = std::move(built.base)}));
    live = append ? version::CarryLive(view.search.live, *version)
                  : query::LiveBitmap(version->view->positions);
  }
  versions->indexes.push_back(std::move(version));
  versions->live.push_back(std::move(live));
  return true;
}

void StoredCollection::WriteManifests(const NewVersions& versions, WriteSet* writes) const {
  for (size_t field = 0; field < versions.indexes.size(); ++field) {
    const std::string key = FieldKey(record_.uid, static_cast<uint8_t>(field));
    if (versions.indexes[field] == nullptr) {
      writes->Delete(Table::kManifest, key);
    } else {
      writes->Put(Table::kManifest, key,
                  storage::EncodeVersionRecord(versions.indexes[field]->record));
    }
  }
}

absl::Status StoredCollection::PublishAbsorbed(NewVersions versions, bool rebuilt) {
  {
    base::MutexLock lock(&write_mu_);
    std::vector<base::RowId> died;
    for (const base::RowId row : noted_deaths_) {
      if (row < versions.absorbed_end) died.push_back(row);
    }
    std::sort(died.begin(), died.end());
    TESSERA_RETURN_IF_ERROR(MarkDead(died, &versions));

    WriteSet writes;
    WriteManifests(versions, &writes);
    for (const auto& [row, sequence] : fresh_sequence_) {
      if (sequence >= versions.absorbed_sequence) continue;
      for (size_t field = 0; field < fields_.size(); ++field) {
        writes.Delete(Table::kFresh,
                      FreshKey(record_.uid, static_cast<uint8_t>(field), base::RowId{row}));
      }
    }
    if (rebuilt) {
      TESSERA_RETURN_IF_ERROR(DeleteKeys(*engine_.rows, Table::kLocations, UidKey(record_.uid),
                                         RowKey(record_.uid, versions.absorbed_end), &writes));
    }
    for (const base::RowId row : died) {
      writes.Put(Table::kLocations, RowKey(record_.uid, row), "");
    }
    TESSERA_RETURN_IF_ERROR(engine_.files->Publish(std::move(versions.writers), [&] {
      return engine_.rows->Write(writes, Durability::kSynced);
    }));
    InstallVersions(&versions);
  }
  View()->AdoptFrames();
  // What stays of the old version is removed when the next one is published, or at the next open.
  engine_.files->RemoveUnused().IgnoreError();
  return absl::OkStatus();
}

absl::Status StoredCollection::MarkDead(std::span<const base::RowId> rows,
                                        NewVersions* versions) const {
  for (size_t field = 0; field < versions->indexes.size() && !rows.empty(); ++field) {
    if (versions->indexes[field] == nullptr) continue;
    TESSERA_ASSIGN_OR_RETURN(const std::vector<std::optional<uint64_t>> found,
                             versions->indexes[field]->Locate(rows));
    std::vector<uint64_t> positions;
    for (const std::optional<uint64_t>& position : found) {
      if (position.has_value()) positions.push_back(*position);
    }
    versions->live[field] = versions->live[field].WithCleared(positions);
  }
  return absl::OkStatus();
}

void StoredCollection::InstallVersions(NewVersions* versions) {
  for (size_t field = 0; field < fields_.size(); ++field) {
    fields_[field].index = std::move(versions->indexes[field]);
    fields_[field].live = std::move(versions->live[field]);
    fields_[field].fresh.DropBefore(versions->absorbed_sequence);
  }
  absorbed_end_ = versions->absorbed_end;
  std::erase_if(fresh_sequence_,
                [&](const auto& entry) { return entry.second < versions->absorbed_sequence; });
  ReserveFresh(0).IgnoreError();  // shrinks
  PublishView();
}

}  // namespace tessera::db
