#include "db/bulk_loader.h"

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/status_macros.h"
#include "db/collection.h"
#include "db/filters/row_fields.h"
#include "db/jobs/build_memory.h"
#include "db/publish/absorption.h"
#include "db/publish/publisher.h"
#include "db/records.h"
#include "db/validate.h"
#include "index/raw_plane.h"
#include "query/filter/field_record.h"
#include "storage/manifest.h"
#include "version/build/field_spool.h"

namespace tessera::db {
namespace {

using storage::Durability;
using storage::Table;
using storage::WriteSet;

constexpr size_t kIdBatch = 4096;
constexpr size_t kCopyBytes = size_t{1} << 20;
constexpr size_t kCleanupBatch = 4096;
// Sorting ids, sorting dead rows, and a spool's buffer.
constexpr uint64_t kIdSortBytes = uint64_t{4} << 20;
constexpr uint64_t kDeadSortBytes = uint64_t{1} << 20;
constexpr uint64_t kSpoolBytes = uint64_t{1} << 20;
constexpr uint64_t kFieldsSpoolBytes = uint64_t{256} << 10;
// A load this much smaller than what is there is appended to it.
constexpr uint64_t kAppendRatio = 4;

}  // namespace

absl::StatusOr<BulkLoadOutcome> BulkLoader::Run(const PointSource& source) {
  TESSERA_RETURN_IF_ERROR(Prepare());
  TESSERA_RETURN_IF_ERROR(ReadPoints(source));
  if (read_count_ == 0) return BulkLoadOutcome();
  TESSERA_RETURN_IF_ERROR(WriteIds());
  TESSERA_RETURN_IF_ERROR(WriteTombstones());
  TESSERA_RETURN_IF_ERROR(BuildIndexes());
  TESSERA_RETURN_IF_ERROR(Publish());
  RemoveDeadPoints();
  return BulkLoadOutcome{.rows = read_count_,
                         .replaced = read_count_ - added_count_ + replaced_count_};
}

void BulkLoader::Report(std::string_view phase, uint64_t done, uint64_t total) const {
  if (options_.progress) options_.progress({.phase = phase, .done = done, .total = total});
}

absl::Status BulkLoader::CheckCancelled() const {
  TESSERA_RETURN_IF_ERROR(core_.CheckWorking());
  if (cancelled_.load()) return absl::CancelledError("the bulk load was cancelled");
  return absl::OkStatus();
}

absl::Status BulkLoader::Prepare() {
  {
    base::MutexLock lock(&core_.write_mu);
    TESSERA_RETURN_IF_ERROR(core_.CheckWorking());
    view_ = core_.View();
    first_row_ = core_.state.next_row;
  }
  TESSERA_ASSIGN_OR_RETURN(
      memory_, engine_.budget->Reserve("bulk loads", kIdSortBytes + kDeadSortBytes +
                                                         kSpoolBytes * view_->fields.size() +
                                                         kFieldsSpoolBytes));
  for (const FieldView& field : view_->fields) {
    TESSERA_ASSIGN_OR_RETURN(auto spool,
                             version::NewRecordSpool(engine_.versions, field.search.field));
    spools_.push_back(std::move(spool));
  }
  TESSERA_ASSIGN_OR_RETURN(fields_, version::FieldsSpool::Create(engine_.versions, first_row_));
  ids_ = std::make_unique<storage::ExternalSorter>(*engine_.fs, engine_.scratch_path, kIdSortBytes);
  dead_sorter_ =
      std::make_unique<storage::ExternalSorter>(*engine_.fs, engine_.scratch_path, kDeadSortBytes);
  TESSERA_ASSIGN_OR_RETURN(rows_, engine_.rows->NewBulkWriter());
  return absl::OkStatus();
}

absl::Status BulkLoader::ReadPoints(const PointSource& source) {
  std::vector<Point> batch;
  while (true) {
    TESSERA_RETURN_IF_ERROR(CheckCancelled());
    batch.clear();
    TESSERA_RETURN_IF_ERROR(source(&batch));
    if (batch.empty()) break;
    TESSERA_RETURN_IF_ERROR(ValidatePoints(core_.schema(), RepeatedIds::kAllowed, &batch));
    for (const Point& point : batch) {
      TESSERA_RETURN_IF_ERROR(AddPoint({first_row_.value + read_count_}, point));
      ++read_count_;
    }
    Report("read", read_count_, 0);
  }
  for (const auto& spool : spools_) {
    if (read_count_ > 0 && spool->record_count() != read_count_) {
      return absl::InternalError("a spool lacks records");
    }
  }
  return absl::OkStatus();
}

absl::Status BulkLoader::AddPoint(base::RowId row, const Point& point) {
  PointRecord record{.id = point.id, .version = WriterState::VersionOf(row), .payload_json = {}};
  record.payload_json = point.payload.is_null() ? point.payload_json : point.payload.ToJson();
  if (record.payload_json.size() > kPayloadBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "point with id ", point.id.ToString(), " has a payload of ", record.payload_json.size(),
        " bytes, at most ", kPayloadBytesMax, " are allowed"));
  }
  id_key_.clear();
  field_record_.clear();
  point.id.EncodeKey(&id_key_);
  TESSERA_RETURN_IF_ERROR(query::EncodeFieldsOfJson(record.payload_json, &field_record_));
  TESSERA_RETURN_IF_ERROR(fields_->Append(id_key_, field_record_));
  const uint32_t uid = core_.record.uid;
  TESSERA_RETURN_IF_ERROR(rows_->Put(Table::kPoints, RowKey(uid, row), EncodePointRecord(record)));
  TESSERA_RETURN_IF_ERROR(ids_->Add(IdKey(uid, point.id), EncodeRow(row)));
  for (size_t field = 0; field < spools_.size(); ++field) {
    const base::VectorFieldSchema& schema = view_->fields[field].search.field;
    record_.resize(index::RawRecordBytes(schema));
    index::EncodeRawRecord(schema,
                           {.row = row,
                            .version = record.version,
                            .id = &point.id,
                            .vector = std::as_bytes(std::span(point.vectors[field].bytes)).data()},
                           record_.data());
    TESSERA_RETURN_IF_ERROR(spools_[field]->Append(record_));
  }
  return absl::OkStatus();
}

absl::Status BulkLoader::WriteIds() {
  TESSERA_RETURN_IF_ERROR(ids_->Finish());
  uint64_t done = 0;
  std::string_view key;
  std::string_view value;
  while (true) {
    TESSERA_ASSIGN_OR_RETURN(const bool more, ids_->Next(&key, &value));
    if (!more) break;
    TESSERA_ASSIGN_OR_RETURN(const base::RowId row, DecodeRow(value));
    if (!id_keys_.empty() && id_keys_.back() == key) {
      TESSERA_RETURN_IF_ERROR(AddDead(id_rows_.back()));
      id_rows_.back() = row;
    } else {
      if (id_keys_.size() >= kIdBatch) TESSERA_RETURN_IF_ERROR(WriteIdBatch());
      id_keys_.emplace_back(key);
      id_rows_.push_back(row);
    }
    if (++done % (kIdBatch * 16) == 0) Report("ids", done, read_count_);
  }
  TESSERA_RETURN_IF_ERROR(WriteIdBatch());
  ids_.reset();
  return absl::OkStatus();
}

// Called before the next distinct id is added, so the last of the batch is final.
absl::Status BulkLoader::WriteIdBatch() {
  TESSERA_RETURN_IF_ERROR(CheckCancelled());
  if (view_->point_count > 0) {
    TESSERA_ASSIGN_OR_RETURN(const std::vector<std::optional<std::string>> old,
                             engine_.rows->MultiGet(Table::kIds, id_keys_));
    for (const std::optional<std::string>& value : old) {
      if (!value.has_value()) continue;
      TESSERA_ASSIGN_OR_RETURN(const base::RowId row, DecodeRow(*value));
      TESSERA_RETURN_IF_ERROR(AddDead(row));
      ++replaced_count_;
    }
  }
  for (size_t i = 0; i < id_keys_.size(); ++i) {
    TESSERA_RETURN_IF_ERROR(rows_->Put(Table::kIds, id_keys_[i], EncodeRow(id_rows_[i])));
  }
  added_count_ += id_keys_.size();
  id_keys_.clear();
  id_rows_.clear();
  return absl::OkStatus();
}

absl::Status BulkLoader::AddDead(base::RowId row) {
  std::string key;
  base::PutBigEndian64(&key, row.value);
  return dead_sorter_->Add(key, {});
}

absl::Status BulkLoader::WriteTombstones() {
  TESSERA_RETURN_IF_ERROR(dead_sorter_->Finish());
  std::string_view key;
  std::string_view value;
  while (true) {
    TESSERA_ASSIGN_OR_RETURN(const bool more, dead_sorter_->Next(&key, &value));
    if (!more) break;
    TESSERA_ASSIGN_OR_RETURN(const base::RowId row, RowOfKey(key));
    dead_.Add(row);
    TESSERA_RETURN_IF_ERROR(rows_->Put(Table::kLocations, RowKey(core_.record.uid, row), ""));
  }
  dead_sorter_.reset();
  return MarkReplaced();
}

// Before anything is built: rows that the load replaces go into no new list.
absl::Status BulkLoader::MarkReplaced() {
  for (const FieldView& field : view_->fields) live_.push_back(field.search.live);
  if (view_->fields[0].index == nullptr) return absl::OkStatus();
  return dead_.ForEachPortion([&](std::span<const base::RowId> rows) -> absl::Status {
    TESSERA_RETURN_IF_ERROR(CheckCancelled());
    for (size_t field = 0; field < live_.size(); ++field) {
      TESSERA_ASSIGN_OR_RETURN(const std::vector<uint64_t> positions,
                               FindPositions(view_->fields[field].index.get(), rows));
      if (!positions.empty()) live_[field] = live_[field].WithCleared(positions);
    }
    return absl::OkStatus();
  });
}

absl::Status BulkLoader::BuildIndexes() {
  for (const auto& spool : spools_) TESSERA_RETURN_IF_ERROR(spool->FinishWriting());
  TESSERA_RETURN_IF_ERROR(fields_->FinishWriting());
  const uint64_t indexed =
      view_->fields[0].index == nullptr ? 0 : view_->fields[0].search.index->rows;
  const bool few = indexed > kAppendRatio * read_count_;
  // Never of what is set aside for absorptions: a load may wait for whoever hears of its progress.
  TESSERA_ASSIGN_OR_RETURN(const BuildMemory::Share memory,
                           engine_.builds->Take(JobLength::kLong, cancelled_));
  absl::Status status =
      BuildFields(few ? NextVersion::kAppend : NextVersion::kRebuild, memory.bytes());
  if (few && AreRowsUnlike(status)) {
    // The loaded rows are unlike those that the lists were made for.
    status = BuildFields(NextVersion::kRebuild, memory.bytes());
  }
  TESSERA_RETURN_IF_ERROR(status);
  spools_.clear();
  fields_.reset();
  // Rows of this load that a later one of the same id replaced; and, in an append, what was dead
  // before, which is carried over.
  return dead_.ForEachPortion([&](std::span<const base::RowId> rows) -> absl::Status {
    for (size_t field = 0; field < versions_.indexes.size(); ++field) {
      TESSERA_ASSIGN_OR_RETURN(const std::vector<uint64_t> positions,
                               FindPositions(versions_.indexes[field].get(), rows));
      if (positions.empty()) continue;
      versions_.live[field] = versions_.live[field].WithCleared(positions);
    }
    return absl::OkStatus();
  });
}

absl::Status BulkLoader::BuildFields(NextVersion how, uint64_t memory_bytes) {
  versions_ = {};
  versions_.absorbed_end = {first_row_.value + read_count_};
  version::BuildOptions options;
  options.threads = options_.threads > 0 ? options_.threads : engine_.threads;
  options.memory_bytes = memory_bytes;
  options.cancelled = &cancelled_;
  RowFields fields(engine_, core_.record.uid, *view_, fields_.get());
  options.fields = &fields;
  options.progress = [&](std::string_view phase, uint64_t done, uint64_t total) {
    Report(phase, done, total);
  };
  for (size_t field = 0; field < spools_.size(); ++field) {
    const FieldView& view = view_->fields[field];
    std::unique_ptr<version::RecordSpool> all;
    if (how == NextVersion::kRebuild && view.index != nullptr) {
      TESSERA_ASSIGN_OR_RETURN(all, WithLiveRecords(field, memory_bytes));
    }
    const version::RecordSpool& spool = all != nullptr ? *all : *spools_[field];
    TESSERA_RETURN_IF_ERROR(AddVersion(engine_.versions, view.search.field, view.index,
                                       live_[field], how, spool, options, &versions_));
  }
  return absl::OkStatus();
}

// What is left of the collection, then the loaded rows: builds want ascending rows.
absl::StatusOr<std::unique_ptr<version::RecordSpool>> BulkLoader::WithLiveRecords(
    size_t field, uint64_t memory_bytes) {
  const FieldView& view = view_->fields[field];
  TESSERA_ASSIGN_OR_RETURN(auto all, version::NewRecordSpool(engine_.versions, view.search.field));
  TESSERA_RETURN_IF_ERROR(version::AppendLiveRecords(engine_.versions, *view.index, live_[field],
                                                     memory_bytes / 2, all.get()));
  const version::RecordSpool& loaded = *spools_[field];
  const size_t portion = std::max<size_t>(1, kCopyBytes / loaded.record_bytes());
  std::vector<std::byte> records;
  for (uint64_t first = 0; first < loaded.record_count(); first += portion) {
    const auto count =
        static_cast<size_t>(std::min<uint64_t>(portion, loaded.record_count() - first));
    TESSERA_RETURN_IF_ERROR(CheckCancelled());
    TESSERA_RETURN_IF_ERROR(loaded.Read(first, count, &records));
    for (size_t i = 0; i < count; ++i) {
      TESSERA_RETURN_IF_ERROR(all->Append(
          std::span(records).subspan(i * loaded.record_bytes(), loaded.record_bytes())));
    }
  }
  TESSERA_RETURN_IF_ERROR(all->FinishWriting());
  return all;
}

absl::Status BulkLoader::Publish() {
  Report("publish", 0, read_count_);
  const uint32_t uid = core_.record.uid;
  TESSERA_RETURN_IF_ERROR(
      rows_->Put(Table::kCatalog, AbsorbedEndKey(uid), EncodeRow(versions_.absorbed_end)));
  TESSERA_RETURN_IF_ERROR(
      rows_->Put(Table::kCatalog, ReservedRowsKey(uid), EncodeRow(versions_.absorbed_end)));
  for (size_t field = 0; field < versions_.indexes.size(); ++field) {
    TESSERA_RETURN_IF_ERROR(
        rows_->Put(Table::kManifest, FieldKey(uid, static_cast<uint8_t>(field)),
                   storage::EncodeVersionRecord(versions_.indexes[field]->record)));
  }
  TESSERA_RETURN_IF_ERROR(CheckCancelled());
  TESSERA_RETURN_IF_ERROR(Publisher(core_).PublishLoaded(
      std::move(versions_), added_count_ - replaced_count_, [&] { return rows_->Commit(); }));
  rows_.reset();
  Report("publish", read_count_, read_count_);
  return absl::OkStatus();
}

// Point records nobody can reach any more: no id leads to their rows, and the rows are dead.
void BulkLoader::RemoveDeadPoints() {
  dead_
      .ForEachPortion([&](std::span<const base::RowId> rows) -> absl::Status {
        for (size_t first = 0; first < rows.size(); first += kCleanupBatch) {
          WriteSet writes;
          for (const base::RowId row :
               rows.subspan(first, std::min(kCleanupBatch, rows.size() - first))) {
            writes.Delete(Table::kPoints, RowKey(core_.record.uid, row));
          }
          TESSERA_RETURN_IF_ERROR(engine_.rows->Write(writes, Durability::kBuffered));
        }
        return absl::OkStatus();
      })
      .IgnoreError();
}

absl::StatusOr<BulkLoadOutcome> StoredCollection::BulkLoad(const PointSource& source,
                                                           const BulkLoadOptions& options) {
  WorkLock work(&core_.work);
  std::atomic<bool> not_cancelled{false};
  std::atomic<bool>* const cancelled =
      options.cancelled != nullptr ? options.cancelled : &not_cancelled;
  SetLoadCancelled(cancelled);
  const absl::Cleanup forget = [&] { SetLoadCancelled(nullptr); };
  absl::StatusOr<BulkLoadOutcome> loaded = BulkLoadOutcome();
  // The source is the caller's: what it throws must not reach the handlers of other requests.
  const absl::Status status = WithoutExceptions("the bulk load", [&] {
    loaded = LoadLocked(source, options, *cancelled);
    return loaded.status();
  });
  if (!status.ok()) {
    // A drop cancels the load, too; it says more.
    TESSERA_RETURN_IF_ERROR(core_.CheckLive());
    return status;
  }
  RequestMaintenance();
  return loaded;
}

// Before CheckWritable looks at stopping: one of the two sees the other.
void StoredCollection::SetLoadCancelled(std::atomic<bool>* cancelled) {
  base::MutexLock lock(&load_mu_);
  load_cancelled_ = cancelled;
}

absl::StatusOr<BulkLoadOutcome> StoredCollection::LoadLocked(const PointSource& source,
                                                             const BulkLoadOptions& options,
                                                             const std::atomic<bool>& cancelled) {
  {
    base::MutexLock lock(&core_.write_mu);
    TESSERA_RETURN_IF_ERROR(core_.CheckWritable());
    core_.state.loading = true;
  }
  const absl::Cleanup done = [&] {
    base::MutexLock lock(&core_.write_mu);
    core_.state.loading = false;
  };
  // What it had finished writing, if it fails; else what it replaced, once nothing here holds it.
  const absl::Cleanup tidy = [&] { engine_.files->RemoveUnused().IgnoreError(); };
  MaintenanceAction first = MaintenanceAction::kNothing;
  {
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ReadView> view, LiveView());
    first = DecideAbsorbNow(core_.Numbers(*view));
  }
  TESSERA_RETURN_IF_ERROR(RunMaintenance(core_, first));
  return BulkLoader(core_, options, cancelled).Run(source);
}

}  // namespace tessera::db
