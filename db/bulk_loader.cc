#include "db/bulk_loader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/status_macros.h"
#include "db/build_memory.h"
#include "db/records.h"
#include "db/validate.h"
#include "index/raw_plane.h"
#include "storage/manifest.h"

namespace tessera::db {
namespace {

using storage::Durability;
using storage::Table;
using storage::WriteSet;

constexpr size_t kIdBatch = 4096;
constexpr size_t kCopyBytes = size_t{1} << 20;
constexpr size_t kCleanupBatch = 4096;
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
  if (collection_.stopping_.load()) return absl::CancelledError("the database is closing");
  if (cancelled_.load()) return absl::CancelledError("the bulk load was cancelled");
  return absl::OkStatus();
}

absl::Status BulkLoader::Prepare() {
  {
    base::MutexLock lock(&collection_.write_mu_);
    view_ = collection_.View();
    first_row_ = collection_.next_row_;
  }
  TESSERA_ASSIGN_OR_RETURN(memory_, ReserveBuildMemory(engine_));
  for (const FieldView& field : view_->fields) {
    TESSERA_ASSIGN_OR_RETURN(auto spool,
                             version::NewRecordSpool(engine_.versions, field.search.field));
    spools_.push_back(std::move(spool));
  }
  ids_ = std::make_unique<storage::ExternalSorter>(*engine_.fs, engine_.scratch_path,
                                                   memory_.bytes() / 4);
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
    TESSERA_RETURN_IF_ERROR(ValidatePoints(collection_.schema(), RepeatedIds::kAllowed, &batch));
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
  PointRecord record{
      .id = point.id, .version = StoredCollection::VersionOf(row), .payload_json = {}};
  record.payload_json = point.payload.is_null() ? point.payload_json : point.payload.ToJson();
  if (record.payload_json.size() > kPayloadBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "point with id ", point.id.ToString(), " has a payload of ", record.payload_json.size(),
        " bytes, at most ", kPayloadBytesMax, " are allowed"));
  }
  const uint32_t uid = collection_.record_.uid;
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
      dead_.push_back(id_rows_.back());
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
      dead_.push_back(row);
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

absl::Status BulkLoader::WriteTombstones() {
  std::sort(dead_.begin(), dead_.end());
  for (const base::RowId row : dead_) {
    TESSERA_RETURN_IF_ERROR(
        rows_->Put(Table::kLocations, RowKey(collection_.record_.uid, row), ""));
  }
  return absl::OkStatus();
}

absl::Status BulkLoader::BuildIndexes() {
  versions_.absorbed_end = {first_row_.value + read_count_};
  const uint64_t indexed =
      view_->fields[0].index == nullptr ? 0 : view_->fields[0].search.index->rows;
  rebuild_ = indexed <= kAppendRatio * read_count_;
  version::BuildOptions options = collection_.MakeBuildOptions(memory_.bytes());
  options.cancelled = &cancelled_;
  if (options_.threads > 0) options.threads = options_.threads;
  options.progress = [&](std::string_view phase, uint64_t done, uint64_t total) {
    Report(phase, done, total);
  };
  for (size_t field = 0; field < spools_.size(); ++field) {
    TESSERA_RETURN_IF_ERROR(spools_[field]->FinishWriting());
    if (rebuild_) TESSERA_RETURN_IF_ERROR(PrependLiveRecords(field));
    TESSERA_ASSIGN_OR_RETURN(
        bool fits, collection_.BuildField(view_->fields[field], *spools_[field], rebuild_, options,
                                          &versions_));
    if (!fits) {
      // Rows unlike those of the index: this field's is built of all rows.
      TESSERA_RETURN_IF_ERROR(PrependLiveRecords(field));
      TESSERA_ASSIGN_OR_RETURN(fits, collection_.BuildField(view_->fields[field], *spools_[field],
                                                            /*rebuild=*/true, options, &versions_));
      TESSERA_CHECK(fits);
    }
    spools_[field].reset();
  }
  return collection_.MarkDead(dead_, &versions_);
}

// Builds want ascending rows.
absl::Status BulkLoader::PrependLiveRecords(size_t field) {
  const FieldView& view = view_->fields[field];
  if (view.index == nullptr) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(auto all, version::NewRecordSpool(engine_.versions, view.search.field));
  TESSERA_RETURN_IF_ERROR(version::AppendLiveRecords(
      engine_.versions, *view.index, view.search.live, memory_.bytes() / 2, all.get()));
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
  spools_[field] = std::move(all);
  return spools_[field]->FinishWriting();
}

absl::Status BulkLoader::Publish() {
  Report("publish", 0, read_count_);
  const uint32_t uid = collection_.record_.uid;
  TESSERA_RETURN_IF_ERROR(
      rows_->Put(Table::kCatalog, ReservedRowsKey(uid), EncodeRow(versions_.absorbed_end)));
  for (size_t field = 0; field < versions_.indexes.size(); ++field) {
    TESSERA_RETURN_IF_ERROR(
        rows_->Put(Table::kManifest, FieldKey(uid, static_cast<uint8_t>(field)),
                   storage::EncodeVersionRecord(versions_.indexes[field]->record)));
  }
  {
    base::MutexLock lock(&collection_.write_mu_);
    TESSERA_RETURN_IF_ERROR(CheckCancelled());
    TESSERA_RETURN_IF_ERROR(
        engine_.files->Publish(std::move(versions_.writers), [&] { return rows_->Commit(); }));
    collection_.next_row_ = versions_.absorbed_end;
    collection_.reserved_end_ = versions_.absorbed_end;
    collection_.point_count_ += added_count_ - replaced_count_;
    collection_.InstallVersions(&versions_);
  }
  collection_.View()->AdoptFrames();
  rows_.reset();
  engine_.files->RemoveUnused().IgnoreError();
  Report("publish", read_count_, read_count_);
  return absl::OkStatus();
}

// Point records nobody can reach any more: no id leads to their rows, and the rows are dead.
void BulkLoader::RemoveDeadPoints() {
  const uint32_t uid = collection_.record_.uid;
  WriteSet writes;
  for (size_t i = 0; i < dead_.size(); ++i) {
    writes.Delete(Table::kPoints, RowKey(uid, dead_[i]));
    if (i % kCleanupBatch == kCleanupBatch - 1 || i + 1 == dead_.size()) {
      if (!engine_.rows->Write(writes, Durability::kBuffered).ok()) return;
      writes.Clear();
    }
  }
}

absl::StatusOr<BulkLoadOutcome> StoredCollection::BulkLoad(const PointSource& source,
                                                           const BulkLoadOptions& options) {
  base::MutexLock maintenance(&maintenance_mu_);
  std::atomic<bool> not_cancelled{false};
  std::atomic<bool>* const cancelled =
      options.cancelled != nullptr ? options.cancelled : &not_cancelled;
  SetLoadCancelled(cancelled);
  absl::StatusOr<BulkLoadOutcome> loaded = LoadLocked(source, options, *cancelled);
  SetLoadCancelled(nullptr);
  return loaded;
}

// Before CheckWritable looks at stopping_: one of the two sees the other.
void StoredCollection::SetLoadCancelled(std::atomic<bool>* cancelled) {
  base::MutexLock lock(&load_mu_);
  load_cancelled_ = cancelled;
}

absl::StatusOr<BulkLoadOutcome> StoredCollection::LoadLocked(const PointSource& source,
                                                             const BulkLoadOptions& options,
                                                             const std::atomic<bool>& cancelled) {
  {
    base::MutexLock lock(&write_mu_);
    TESSERA_RETURN_IF_ERROR(CheckWritable());
    loading_ = true;
  }
  const absl::Status absorbed = AbsorbLocked();
  absl::StatusOr<BulkLoadOutcome> loaded =
      absorbed.ok() ? BulkLoader(*this, options, cancelled).Run(source) : absorbed;
  // What it had finished writing.
  if (!loaded.ok()) engine_.files->RemoveUnused().IgnoreError();
  base::MutexLock lock(&write_mu_);
  loading_ = false;
  return loaded;
}

}  // namespace tessera::db
