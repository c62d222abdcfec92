// The write path: one write of a client is one atomic change of the row store, then of the state in
// memory, then a new read view; the log is synced outside the lock, so that writers share it.
#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/coding.h"
#include "base/status_details.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "db/collection.h"
#include "db/payload_merge.h"
#include "db/validate.h"

namespace tessera::db {
namespace {

using storage::Durability;
using storage::Table;
using storage::WriteSet;

// Rows reserved at a time: so many numbers are skipped at most after a crash.
constexpr uint64_t kReservedRows = uint64_t{1} << 16;
// Fresh rows are absorbed once there are so many, or an eighth of the indexed rows.
constexpr uint64_t kAbsorbRowsMin = 4096;
constexpr uint64_t kAbsorbShare = 8;
// Bookkeeping of a fresh row beside its vectors.
constexpr uint64_t kFreshRowOverhead = 160;
// Writes that find no room absorb this often before they give up.
constexpr int kAbsorbAttemptsMax = 8;

// Marks the status of a write that may succeed once rows have been absorbed.
constexpr char kNoRoomPayload[] = "tessera.db/absorb-and-retry";

bool IsNoRoom(const absl::Status& status) {
  return status.GetPayload(kNoRoomPayload).has_value();
}

absl::StatusOr<std::vector<std::string>> EncodePayloads(const std::vector<Point>& points) {
  std::vector<std::string> payloads;
  payloads.reserve(points.size());
  for (const Point& point : points) {
    std::string json = point.payload.is_null() ? point.payload_json : point.payload.ToJson();
    if (json.size() > kPayloadBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("point ", payloads.size(), " (id ", point.id.ToString(),
                       "): has a payload of ", json.size(), " bytes, at most ", kPayloadBytesMax,
                       " are allowed"));
    }
    payloads.push_back(std::move(json));
  }
  return payloads;
}

std::string EncodeFresh(uint64_t version, std::string_view vector) {
  std::string value;
  value.reserve(8 + vector.size());
  base::PutU64(&value, version);
  value.append(vector);
  return value;
}

}  // namespace

absl::Status StoredCollection::CheckWritable() const {
  TESSERA_RETURN_IF_ERROR(CheckLive());
  TESSERA_RETURN_IF_ERROR(engine_.CheckWritable());
  if (stopping_.load(std::memory_order_relaxed)) {
    return absl::UnavailableError("the database is closing");
  }
  if (loading_) {
    return absl::UnavailableError(absl::StrCat(
        "collection \"", schema().name, "\" is being loaded in bulk; retry when it is done"));
  }
  return absl::OkStatus();
}

uint64_t StoredCollection::FreshRowBytes() const {
  return kFreshRowOverhead + base::VectorBytes(schema());
}

// Rows that died while fresh take their place until they are absorbed.
absl::Status StoredCollection::ReserveFresh(uint64_t more_rows) {
  const query::FreshView fresh = fields_[0].fresh.Snapshot();
  const uint64_t rows = fresh.end_sequence() - fresh.first_sequence() + more_rows;
  const uint64_t bytes = rows * FreshRowBytes();
  if (bytes > engine_.plan.fresh_bytes_max) {
    absl::Status status = absl::ResourceExhaustedError(absl::StrCat(
        "the write needs ", bytes, " bytes for rows that are not in lists yet, at most ",
        engine_.plan.fresh_bytes_max,
        " are allowed; write smaller batches, load in bulk, or raise "
        "the memory limit"));
    const uint64_t alone = more_rows * FreshRowBytes();
    if (alone <= engine_.plan.fresh_bytes_max) return status;
    return base::OverLimit(std::move(status), alone, engine_.plan.fresh_bytes_max);
  }
  return fresh_memory_.Resize(bytes);
}

absl::StatusOr<base::RowId> StoredCollection::AllocateRows(uint64_t count, WriteSet* writes) {
  const base::RowId first = next_row_;
  if (first.value + count > reserved_end_.value) {
    writes->Put(Table::kCatalog, ReservedRowsKey(record_.uid),
                EncodeRow(base::RowId{first.value + count + kReservedRows}));
  }
  return first;
}

void StoredCollection::TakeRows(uint64_t count) {
  next_row_.value += count;
  if (next_row_ > reserved_end_) reserved_end_.value = next_row_.value + kReservedRows;
}

absl::StatusOr<std::vector<StoredCollection::OldRow>> StoredCollection::FindRows(
    std::span<const base::PointId> ids) const {
  std::vector<std::string> keys;
  keys.reserve(ids.size());
  for (const base::PointId& id : ids) keys.push_back(IdKey(record_.uid, id));
  TESSERA_ASSIGN_OR_RETURN(const std::vector<std::optional<std::string>> values,
                           engine_.rows->MultiGet(Table::kIds, keys));
  std::vector<OldRow> rows;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!values[i].has_value()) continue;
    TESSERA_ASSIGN_OR_RETURN(const base::RowId row, DecodeRow(*values[i]));
    rows.push_back({.id = ids[i], .row = row});
  }
  return rows;
}

absl::StatusOr<std::vector<std::vector<uint64_t>>> StoredCollection::LocateAbsorbed(
    std::span<const OldRow> old) {
  std::vector<base::RowId> absorbed;
  for (const OldRow& entry : old) {
    if (entry.row < absorbed_end_) absorbed.push_back(entry.row);
  }
  std::sort(absorbed.begin(), absorbed.end());
  std::vector<std::vector<uint64_t>> positions(fields_.size());
  if (absorbed.empty()) return positions;
  for (size_t field = 0; field < fields_.size(); ++field) {
    TESSERA_ASSIGN_OR_RETURN(const std::vector<std::optional<uint64_t>> found,
                             fields_[field].index->Locate(absorbed));
    for (size_t i = 0; i < found.size(); ++i) {
      if (!found[i].has_value()) {
        return absl::DataLossError(absl::StrCat("row ", absorbed[i].value, " of collection \"",
                                                schema().name, "\" is in no list"));
      }
      positions[field].push_back(*found[i]);
    }
  }
  return positions;
}

void StoredCollection::WriteDeaths(std::span<const OldRow> old, WriteSet* writes) const {
  for (const OldRow& entry : old) {
    writes->Delete(Table::kPoints, RowKey(record_.uid, entry.row));
    if (entry.row < absorbed_end_) {
      writes->Put(Table::kLocations, RowKey(record_.uid, entry.row), "");
      continue;
    }
    for (size_t field = 0; field < fields_.size(); ++field) {
      writes->Delete(Table::kFresh, FreshKey(record_.uid, static_cast<uint8_t>(field), entry.row));
    }
  }
}

void StoredCollection::ApplyDeaths(std::span<const OldRow> old,
                                   const std::vector<std::vector<uint64_t>>& positions) {
  for (const OldRow& entry : old) {
    if (note_deaths_) noted_deaths_.push_back(entry.row);
    const auto it = fresh_sequence_.find(entry.row.value);
    if (it == fresh_sequence_.end()) continue;
    for (FieldState& field : fields_) field.fresh.MarkDead(it->second);
    fresh_sequence_.erase(it);
  }
  for (size_t field = 0; field < fields_.size(); ++field) {
    if (positions[field].empty()) continue;
    fields_[field].live = fields_[field].live.WithCleared(positions[field]);
  }
  point_count_ -= old.size();
}

void StoredCollection::AppendFresh(base::RowId row, const Point& point) {
  uint64_t sequence = 0;
  for (size_t field = 0; field < fields_.size(); ++field) {
    sequence = fields_[field].fresh.Append(row, point.id, VersionOf(row),
                                           std::as_bytes(std::span(point.vectors[field].bytes)));
  }
  fresh_sequence_.emplace(row.value, sequence);
  ++point_count_;
}

void StoredCollection::RequestAbsorb() {
  if (!background_absorb_ || note_deaths_ || absl::Now() < absorb_not_before_) return;
  const query::FreshView fresh = fields_[0].fresh.Snapshot();
  const uint64_t rows = fresh.end_sequence() - fresh.first_sequence();
  const uint64_t indexed = fields_[0].index == nullptr ? 0 : fields_[0].index->view->rows;
  const bool many = rows >= std::max(kAbsorbRowsMin, indexed / kAbsorbShare);
  const bool large = rows * FreshRowBytes() >= engine_.plan.fresh_bytes_max / 2;
  if (!many && !large) return;
  engine_.maintenance.Request(record_.uid, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->AbsorbInBackground();
  });
}

absl::Status StoredCollection::Acknowledge(Ack ack) const {
  return ack == Ack::kWal ? engine_.rows->SyncLog() : absl::OkStatus();
}

absl::StatusOr<UpsertOutcome> StoredCollection::WritePoints(
    const std::vector<Point>& points, const std::vector<std::string>& payloads) {
  std::vector<base::PointId> ids;
  ids.reserve(points.size());
  for (const Point& point : points) ids.push_back(point.id);
  TESSERA_ASSIGN_OR_RETURN(const std::vector<OldRow> old, FindRows(ids));
  TESSERA_ASSIGN_OR_RETURN(const auto positions, LocateAbsorbed(old));

  WriteSet writes;
  WriteDeaths(old, &writes);
  TESSERA_ASSIGN_OR_RETURN(const base::RowId first, AllocateRows(points.size(), &writes));
  for (size_t i = 0; i < points.size(); ++i) {
    const base::RowId row{first.value + i};
    writes.Put(Table::kPoints, RowKey(record_.uid, row),
               EncodePointRecord({points[i].id, VersionOf(row), payloads[i]}));
    writes.Put(Table::kIds, IdKey(record_.uid, points[i].id), EncodeRow(row));
    for (size_t field = 0; field < fields_.size(); ++field) {
      writes.Put(Table::kFresh, FreshKey(record_.uid, static_cast<uint8_t>(field), row),
                 EncodeFresh(VersionOf(row), points[i].vectors[field].bytes));
    }
  }
  TESSERA_RETURN_IF_ERROR(engine_.rows->Write(writes, Durability::kBuffered));

  TakeRows(points.size());
  ApplyDeaths(old, positions);
  for (size_t i = 0; i < points.size(); ++i) AppendFresh({first.value + i}, points[i]);
  PublishView();
  RequestAbsorb();
  return UpsertOutcome{.version = VersionOf(base::RowId{first.value + points.size() - 1}),
                       .replaced = old.size()};
}

absl::StatusOr<UpsertOutcome> StoredCollection::Upsert(std::vector<Point> points, Ack ack) {
  TESSERA_RETURN_IF_ERROR(ValidatePoints(schema(), RepeatedIds::kRefused, &points));
  TESSERA_ASSIGN_OR_RETURN(const std::vector<std::string> payloads, EncodePayloads(points));
  if (points.empty()) {
    return absl::InvalidArgumentError("the batch is empty, must have at least 1 point");
  }
  for (int attempt = 0;; ++attempt) {
    absl::StatusOr<UpsertOutcome> outcome = TryUpsert(points, payloads);
    if (outcome.ok()) {
      TESSERA_RETURN_IF_ERROR(Acknowledge(ack));
      return outcome;
    }
    if (!IsNoRoom(outcome.status()) || attempt == kAbsorbAttemptsMax) return outcome;
    TESSERA_RETURN_IF_ERROR(Absorb());
  }
}

absl::StatusOr<UpsertOutcome> StoredCollection::TryUpsert(
    const std::vector<Point>& points, const std::vector<std::string>& payloads) {
  base::MutexLock lock(&write_mu_);
  TESSERA_RETURN_IF_ERROR(CheckWritable());
  if (absl::Status room = ReserveFresh(points.size()); !room.ok()) {
    const query::FreshView fresh = fields_[0].fresh.Snapshot();
    const bool never = base::LimitOf(room).has_value();
    if (!never && fresh.end_sequence() != fresh.first_sequence()) {
      room.SetPayload(kNoRoomPayload, absl::Cord());
    }
    return room;
  }
  return WritePoints(points, payloads);
}

absl::StatusOr<uint64_t> StoredCollection::Delete(std::span<const base::PointId> ids, Ack ack) {
  std::vector<base::PointId> unique(ids.begin(), ids.end());
  std::sort(unique.begin(), unique.end());
  unique.erase(std::unique(unique.begin(), unique.end()), unique.end());
  size_t deleted = 0;
  {
    base::MutexLock lock(&write_mu_);
    TESSERA_RETURN_IF_ERROR(CheckWritable());
    TESSERA_ASSIGN_OR_RETURN(const std::vector<OldRow> old, FindRows(unique));
    deleted = old.size();
    if (deleted > 0) {
      TESSERA_ASSIGN_OR_RETURN(const auto positions, LocateAbsorbed(old));
      WriteSet writes;
      WriteDeaths(old, &writes);
      for (const OldRow& entry : old) {
        writes.Delete(Table::kIds, IdKey(record_.uid, entry.id));
      }
      TESSERA_RETURN_IF_ERROR(engine_.rows->Write(writes, Durability::kBuffered));
      ApplyDeaths(old, positions);
      PublishView();
    }
  }
  TESSERA_RETURN_IF_ERROR(Acknowledge(ack));
  return deleted;
}

absl::StatusOr<uint64_t> StoredCollection::SetPayload(std::span<const base::PointId> ids,
                                                      const base::Value& payload, Ack ack) {
  if (payload.object() == nullptr) {
    return absl::InvalidArgumentError("the payload is not a JSON object");
  }
  std::vector<base::PointId> unique(ids.begin(), ids.end());
  std::sort(unique.begin(), unique.end());
  unique.erase(std::unique(unique.begin(), unique.end()), unique.end());
  {
    base::MutexLock lock(&write_mu_);
    TESSERA_RETURN_IF_ERROR(CheckWritable());
    TESSERA_ASSIGN_OR_RETURN(const std::vector<OldRow> rows, FindRows(unique));
    for (size_t i = 0; i < unique.size(); ++i) {
      if (i >= rows.size() || rows[i].id != unique[i]) {
        return absl::NotFoundError(absl::StrCat("there is no point with id ", unique[i].ToString(),
                                                " in collection \"", schema().name, "\""));
      }
    }
    WriteSet writes;
    TESSERA_RETURN_IF_ERROR(MergePayloads(rows, payload, &writes));
    TESSERA_RETURN_IF_ERROR(engine_.rows->Write(writes, Durability::kBuffered));
    PublishView();
  }
  TESSERA_RETURN_IF_ERROR(Acknowledge(ack));
  return unique.size();
}

absl::Status StoredCollection::MergePayloads(std::span<const OldRow> rows,
                                             const base::Value& payload, WriteSet* writes) const {
  const PayloadMerger merger(payload);
  uint64_t merged_bytes = 0;
  for (const OldRow& entry : rows) {
    // One by one: each record may have a payload of kPayloadBytesMax.
    const std::string key = RowKey(record_.uid, entry.row);
    TESSERA_ASSIGN_OR_RETURN(const std::vector<std::optional<std::string>> values,
                             engine_.rows->MultiGet(Table::kPoints, {&key, 1}));
    if (!values[0].has_value()) {
      return absl::DataLossError(
          absl::StrCat("point ", entry.id.ToString(), " has no record in the row store"));
    }
    TESSERA_ASSIGN_OR_RETURN(PointRecord record, DecodePointRecord(*values[0]));
    TESSERA_ASSIGN_OR_RETURN(record.payload_json, merger.Merge(record.payload_json));
    if (record.payload_json.size() > kPayloadBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the payload of point ", entry.id.ToString(), " would have ",
          record.payload_json.size(), " bytes, at most ", kPayloadBytesMax, " are allowed"));
    }
    merged_bytes += record.payload_json.size();
    if (merged_bytes > kMergedBytesMax) {
      return base::OverLimit(
          absl::ResourceExhaustedError(absl::StrCat(
              "the merged payloads of ", rows.size(), " points have over ", kMergedBytesMax,
              " bytes, the most of one write; set the payload of fewer points at a time")),
          merged_bytes, kMergedBytesMax);
    }
    writes->Put(Table::kPoints, key, EncodePointRecord(record));
  }
  return absl::OkStatus();
}

}  // namespace tessera::db
