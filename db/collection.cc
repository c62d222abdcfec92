#include "db/collection.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/coding.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "db/row_ranges.h"
#include "storage/manifest.h"
#include "version/leased_version.h"

namespace tessera::db {

using storage::Durability;
using storage::Table;
using storage::WriteSet;

namespace {

uint64_t PlaneBytes(const storage::VersionRecord& record) {
  uint64_t bytes = 0;
  for (const auto& [plane, extents] : record.planes) {
    for (const storage::ExtentRef& extent : extents) bytes += extent.bytes;
  }
  for (const auto& [blob, extent] : record.blobs) bytes += extent.bytes;
  return bytes;
}

}  // namespace

StoredCollection::StoredCollection(Engine& engine, const CollectionRecord& record,
                                   bool background_absorb)
    : engine_(engine), record_(record), background_absorb_(background_absorb) {
  for (const base::VectorFieldSchema& field : record.schema.vectors) {
    fields_.emplace_back(field, field.dim * base::ElementBytes(field.type));
  }
}

absl::StatusOr<std::shared_ptr<StoredCollection>> StoredCollection::Open(
    Engine& engine, const CollectionRecord& record, bool background_absorb) {
  auto collection =
      std::shared_ptr<StoredCollection>(new StoredCollection(engine, record, background_absorb));
  if (absl::Status status = collection->Recover(); !status.ok()) {
    return absl::Status(status.code(), absl::StrCat("opening collection \"", record.schema.name,
                                                    "\": ", status.message()));
  }
  return collection;
}

absl::Status StoredCollection::Recover() {
  base::MutexLock lock(&write_mu_);
  TESSERA_ASSIGN_OR_RETURN(fresh_memory_, engine_.budget->Reserve("fresh rows", 0));
  TESSERA_ASSIGN_OR_RETURN(const std::optional<std::string> reserved,
                           engine_.rows->Get(Table::kCatalog, ReservedRowsKey(record_.uid)));
  if (reserved.has_value()) {
    TESSERA_ASSIGN_OR_RETURN(reserved_end_, DecodeRow(*reserved));
  }
  next_row_ = reserved_end_;
  TESSERA_RETURN_IF_ERROR(RecoverIndexes());
  TESSERA_RETURN_IF_ERROR(RecoverTombstones());
  for (size_t field = 0; field < fields_.size(); ++field) {
    TESSERA_RETURN_IF_ERROR(RecoverFresh(field));
  }
  TESSERA_RETURN_IF_ERROR(RemoveStaleFresh());
  point_count_ = fresh_sequence_.size();
  if (fields_[0].index != nullptr) {
    for (const query::ListPart& part : fields_[0].index->view->parts) {
      point_count_ += fields_[0].live.CountLive(part.first_block, part.rows);
    }
  }
  PublishView();
  return absl::OkStatus();
}

absl::Status StoredCollection::RecoverIndexes() {
  for (size_t i = 0; i < fields_.size(); ++i) {
    TESSERA_ASSIGN_OR_RETURN(
        const std::optional<std::string> bytes,
        engine_.rows->Get(Table::kManifest, FieldKey(record_.uid, static_cast<uint8_t>(i))));
    if (bytes.has_value() != (i == 0 ? bytes.has_value() : fields_[0].index != nullptr)) {
      return absl::DataLossError("some vector fields have an index version, others have none");
    }
    if (!bytes.has_value()) continue;
    TESSERA_ASSIGN_OR_RETURN(storage::VersionRecord version, storage::DecodeVersionRecord(*bytes));
    const auto absorbed_end = version.counters.find(version::kAbsorbedEndCounter);
    if (absorbed_end == version.counters.end()) {
      return absl::DataLossError("an index version lacks its end of absorbed rows");
    }
    if (i > 0 && absorbed_end->second != absorbed_end_.value) {
      return absl::DataLossError("index versions of two vector fields absorbed different rows");
    }
    absorbed_end_ = base::RowId{absorbed_end->second};
    TESSERA_RETURN_IF_ERROR(engine_.extents->CheckPresent(storage::ReferencedFileEnds(version)));
    TESSERA_ASSIGN_OR_RETURN(
        fields_[i].index,
        version::OpenLeasedVersion(engine_.versions, fields_[i].schema, std::move(version)));
  }
  next_row_ = std::max(next_row_, absorbed_end_);
  reserved_end_ = std::max(reserved_end_, next_row_);
  return absl::OkStatus();
}

absl::Status StoredCollection::RecoverTombstones() {
  if (fields_[0].index == nullptr) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(const std::vector<base::RowId> dead, ReadTombstones(nullptr));
  for (FieldState& field : fields_) {
    TESSERA_ASSIGN_OR_RETURN(field.live, version::LiveRows(*field.index, dead));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<base::RowId>> StoredCollection::ReadTombstones(
    const storage::RowSnapshot* rows) const {
  std::vector<base::RowId> dead;
  const auto it = engine_.rows->NewIterator(Table::kLocations, UidKey(record_.uid), rows);
  for (; it->Valid(); it->Next()) {
    TESSERA_ASSIGN_OR_RETURN(const base::RowId row, RowOfKey(it->key()));
    dead.push_back(row);
  }
  TESSERA_RETURN_IF_ERROR(it->status());
  return dead;
}

absl::Status StoredCollection::RecoverFresh(size_t field) {
  FieldState& state = fields_[field];
  const size_t vector_bytes = state.schema.dim * base::ElementBytes(state.schema.type);
  const auto fresh =
      engine_.rows->NewIterator(Table::kFresh, FieldKey(record_.uid, static_cast<uint8_t>(field)));
  const auto points = engine_.rows->NewIterator(Table::kPoints, UidKey(record_.uid));
  fresh->Seek(FreshKey(record_.uid, static_cast<uint8_t>(field), absorbed_end_));
  for (; fresh->Valid(); fresh->Next()) {
    TESSERA_ASSIGN_OR_RETURN(const base::RowId row, RowOfKey(fresh->key()));
    base::Decoder decoder(fresh->value());
    uint64_t version = 0;
    std::string_view vector;
    TESSERA_RETURN_IF_ERROR(decoder.U64(&version));
    TESSERA_RETURN_IF_ERROR(decoder.Raw(vector_bytes, &vector));
    TESSERA_RETURN_IF_ERROR(decoder.ExpectEnd());
    const std::string row_key = RowKey(record_.uid, row);
    points->Seek(row_key);
    TESSERA_RETURN_IF_ERROR(points->status());
    if (!points->Valid() || points->key() != row_key) {
      return absl::DataLossError(absl::StrCat("fresh row ", row.value, " has no point"));
    }
    TESSERA_ASSIGN_OR_RETURN(PointRecord point, DecodePointRecord(points->value()));
    const uint64_t sequence =
        state.fresh.Append(row, std::move(point.id), version, std::as_bytes(std::span(vector)));
    const auto [it, added] = fresh_sequence_.emplace(row.value, sequence);
    if (added != (field == 0) || it->second != sequence) {
      return absl::DataLossError(
          absl::StrCat("fresh row ", row.value, " is not the same in every vector field"));
    }
    next_row_ = std::max(next_row_, base::RowId{row.value + 1});
  }
  TESSERA_RETURN_IF_ERROR(fresh->status());
  if (state.fresh.Snapshot().live_count() != fresh_sequence_.size()) {
    return absl::DataLossError("vector fields have different fresh rows");
  }
  return fresh_memory_.Resize(fresh_sequence_.size() * FreshRowBytes());
}

// A bulk load publishes without touching what was fresh before it.
absl::Status StoredCollection::RemoveStaleFresh() {
  WriteSet writes;
  for (size_t field = 0; field < fields_.size(); ++field) {
    const auto number = static_cast<uint8_t>(field);
    TESSERA_RETURN_IF_ERROR(DeleteKeys(*engine_.rows, Table::kFresh, FieldKey(record_.uid, number),
                                       FreshKey(record_.uid, number, absorbed_end_), &writes));
  }
  // What only reads passes them over, as it has above.
  return writes.empty() || engine_.read_only ? absl::OkStatus()
                                             : engine_.rows->Write(writes, Durability::kBuffered);
}

void StoredCollection::PublishView() {
  auto view = std::make_shared<ReadView>();
  for (FieldState& field : fields_) {
    view->fields.push_back(
        {.index = field.index,
         .search = {.field = field.schema,
                    .index = field.index == nullptr ? nullptr : field.index->view,
                    .live = field.live,
                    .fresh = field.fresh.Snapshot()}});
  }
  view->rows = engine_.rows->Snapshot();
  view->absorbed_end = absorbed_end_;
  view->point_count = point_count_;
  std::shared_ptr<const ReadView> old = std::move(view);
  {
    base::MutexLock lock(&view_mu_);
    view_.swap(old);
  }
}

std::shared_ptr<const ReadView> StoredCollection::View() const {
  base::MutexLock lock(&view_mu_);
  return view_;
}

absl::Status StoredCollection::CheckLive() const {
  if (dropped_.load(std::memory_order_relaxed)) {
    return absl::NotFoundError(absl::StrCat("collection \"", schema().name, "\" was dropped"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const ReadView>> StoredCollection::LiveView() const {
  TESSERA_RETURN_IF_ERROR(CheckLive());
  std::shared_ptr<const ReadView> view = View();
  if (view == nullptr) return absl::FailedPreconditionError("the database is closed");
  return view;
}

void StoredCollection::StopMaintenance() {
  stopping_.store(true);
  {
    base::MutexLock lock(&load_mu_);
    if (load_cancelled_ != nullptr) load_cancelled_->store(true);
  }
  base::MutexLock maintenance(&maintenance_mu_);
}

void StoredCollection::ReleaseState() {
  std::shared_ptr<const ReadView> view;
  {
    base::MutexLock view_lock(&view_mu_);
    view_.swap(view);
  }
  for (FieldState& field : fields_) {
    field = FieldState(field.schema, field.schema.dim * base::ElementBytes(field.schema.type));
  }
  fresh_sequence_.clear();
  fresh_memory_ = {};
}

void StoredCollection::Close() {
  StopMaintenance();
  base::MutexLock lock(&write_mu_);
  ReleaseState();
}

absl::Status StoredCollection::Drop() {
  StopMaintenance();
  {
    base::MutexLock lock(&write_mu_);
    TESSERA_RETURN_IF_ERROR(CheckLive());
    WriteSet writes;
    writes.Delete(Table::kCatalog, CollectionKey(schema().name));
    writes.Put(Table::kCatalog, DroppedKey(record_.uid), "");
    if (absl::Status status = engine_.rows->Write(writes, Durability::kSynced); !status.ok()) {
      stopping_.store(false);
      return status;
    }
    dropped_.store(true);
    ReleaseState();
  }
  // The drop is done; what fails of the rest is done at the next open.
  RemoveDropped(engine_, record_.uid).IgnoreError();
  engine_.files->RemoveUnused().IgnoreError();
  return absl::OkStatus();
}

absl::Status RemoveDropped(Engine& engine, uint32_t uid) {
  for (const Table table :
       {Table::kPoints, Table::kIds, Table::kFresh, Table::kLocations, Table::kManifest}) {
    TESSERA_RETURN_IF_ERROR(DeleteAllKeys(*engine.rows, table, UidKey(uid)));
  }
  WriteSet writes;
  writes.Delete(Table::kCatalog, ReservedRowsKey(uid));
  writes.Delete(Table::kCatalog, DroppedKey(uid));
  return engine.rows->Write(writes, Durability::kBuffered);
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
