// The write path: one write of a client is one atomic change of the row store, then of the state in
// memory, then a new read view; the log is synced outside the lock, so that writers share it.
//
// What a write has to read from disk (the rows of its ids, their places in the lists, payloads) it
// reads before it takes the write lock: the locks of its ids keep other writes from changing that,
// and a publish or load that did is seen by the number of the layout, and the write begins again.
#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/status_details.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "db/collection.h"
#include "db/make_room.h"
#include "db/payload_merge.h"
#include "db/validate.h"

namespace tessera::db {
namespace {

using storage::Durability;
using storage::Table;
using storage::WriteSet;

// Rows reserved at a time: so many numbers are skipped at most after a crash.
constexpr uint64_t kReservedRows = uint64_t{1} << 16;
// A write that finds no room makes some, and finds it taken by another, this often.
constexpr int kRoomAttemptsMax = 16;

absl::StatusOr<std::vector<std::string>> EncodePayloads(const std::vector<Point>& points) {
  std::vector<std::string> payloads;
  payloads.reserve(points.size());
  for (const Point& point : points) {
    std::string json = point.payload.is_null() ? point.payload_json : point.payload.ToJson();
    if (json.size() > kPayloadBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat(
          "point ", payloads.size(), " (id ", point.id.ToString(), "): has a payload of ",
          json.size(), " bytes, at most ", kPayloadBytesMax, " are allowed"));
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

// A write's look-ups and its change of the row store.
class Write {
 public:
  // Pre: the locks of the ids are held while it lives.
  explicit Write(CollectionCore& core) : core_(core) {}

  // What the collection has under the ids, in their order. Reads from disk.
  absl::Status Find(std::span<const base::PointId> ids);
  const std::vector<OldRow>& old() const { return old_; }

  // Whether what was found is still true.
  bool IsCurrent(const WriterState& state) const { return layout_.number == state.layout_number(); }

  absl::Status MergePayloads(const base::Value& payload);
  void AddDeaths(const WriterState& state);
  void DeleteIds();
  void AddPoints(base::RowId first, const std::vector<Point>& points,
                 const std::vector<std::string>& payloads);
  // Writes what was added and marks the old rows dead if that was among it.
  absl::Status Commit(WriterState& state);

  WriteSet& writes() { return writes_; }

 private:
  absl::Status Locate();
  absl::StatusOr<std::vector<std::vector<uint64_t>>> LocateIn(const Indexes& indexes,
                                                              base::RowId end) const;

  CollectionCore& core_;
  Layout layout_;
  std::vector<OldRow> old_;
  DeadPositions positions_;
  bool kills_ = false;
  WriteSet writes_;
};

absl::Status Write::Find(std::span<const base::PointId> ids) {
  {
    base::MutexLock lock(&core_.write_mu);
    TESSERA_RETURN_IF_ERROR(core_.CheckWritable());
    layout_ = core_.state.GetLayout();
  }
  std::vector<std::string> keys;
  keys.reserve(ids.size());
  for (const base::PointId& id : ids) keys.push_back(IdKey(core_.record.uid, id));
  TESSERA_ASSIGN_OR_RETURN(const std::vector<std::optional<std::string>> values,
                           core_.engine.rows->MultiGet(Table::kIds, keys));
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!values[i].has_value()) continue;
    TESSERA_ASSIGN_OR_RETURN(const base::RowId row, DecodeRow(*values[i]));
    old_.push_back({.id = ids[i], .row = row});
  }
  return Locate();
}

absl::Status Write::Locate() {
  TESSERA_ASSIGN_OR_RETURN(positions_.current, LocateIn(layout_.current, layout_.absorbed_end));
  if (layout_.pending.empty()) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(positions_.pending, LocateIn(layout_.pending, layout_.pending_end));
  return absl::OkStatus();
}

// Of the rows that the indexes must have: those below `end`.
absl::StatusOr<std::vector<std::vector<uint64_t>>> Write::LocateIn(const Indexes& indexes,
                                                                   base::RowId end) const {
  std::vector<base::RowId> rows;
  for (const OldRow& entry : old_) {
    if (entry.row < end) rows.push_back(entry.row);
  }
  std::vector<std::vector<uint64_t>> positions(indexes.size());
  for (size_t field = 0; field < indexes.size() && !rows.empty(); ++field) {
    TESSERA_ASSIGN_OR_RETURN(positions[field], FindPositions(indexes[field].get(), rows));
    if (positions[field].size() < rows.size()) {
      return absl::DataLossError(absl::StrCat("collection \"", core_.schema().name, "\" has ",
                                              rows.size() - positions[field].size(),
                                              " live rows that are in no list"));
    }
  }
  return positions;
}

// A row that an absorption under way takes over needs its tombstone once that is published.
void Write::AddDeaths(const WriterState& state) {
  kills_ = true;
  for (const OldRow& entry : old_) {
    writes_.Delete(Table::kPoints, RowKey(core_.record.uid, entry.row));
    const bool absorbed = entry.row < state.absorbed_end();
    if (absorbed || state.IsAbsorbing(entry.row)) {
      writes_.Put(Table::kLocations, RowKey(core_.record.uid, entry.row), "");
    }
    if (absorbed) continue;
    for (size_t field = 0; field < core_.schema().vectors.size(); ++field) {
      writes_.Delete(Table::kFresh,
                     FreshKey(core_.record.uid, static_cast<uint8_t>(field), entry.row));
    }
  }
}

void Write::DeleteIds() {
  for (const OldRow& entry : old_) {
    writes_.Delete(Table::kIds, IdKey(core_.record.uid, entry.id));
  }
}

void Write::AddPoints(base::RowId first, const std::vector<Point>& points,
                      const std::vector<std::string>& payloads) {
  const uint32_t uid = core_.record.uid;
  for (size_t i = 0; i < points.size(); ++i) {
    const base::RowId row{first.value + i};
    const uint64_t version = WriterState::VersionOf(row);
    writes_.Put(Table::kPoints, RowKey(uid, row),
                EncodePointRecord({points[i].id, version, payloads[i]}));
    writes_.Put(Table::kIds, IdKey(uid, points[i].id), EncodeRow(row));
    for (size_t field = 0; field < points[i].vectors.size(); ++field) {
      writes_.Put(Table::kFresh, FreshKey(uid, static_cast<uint8_t>(field), row),
                  EncodeFresh(version, points[i].vectors[field].bytes));
    }
  }
}

absl::Status Write::Commit(WriterState& state) {
  TESSERA_RETURN_IF_ERROR(core_.engine.rows->Write(writes_, Durability::kBuffered));
  if (kills_) state.ApplyDeaths(old_, positions_);
  return absl::OkStatus();
}

absl::Status Write::MergePayloads(const base::Value& payload) {
  const PayloadMerger merger(payload);
  uint64_t merged_bytes = 0;
  for (const OldRow& entry : old_) {
    // One by one: each record may have a payload of kPayloadBytesMax.
    const std::string key = RowKey(core_.record.uid, entry.row);
    TESSERA_ASSIGN_OR_RETURN(const std::vector<std::optional<std::string>> values,
                             core_.engine.rows->MultiGet(Table::kPoints, {&key, 1}));
    if (!values[0].has_value()) {
      return absl::DataLossError(
          absl::StrCat("point ", entry.id.ToString(), " has no record in the row store"));
    }
    TESSERA_ASSIGN_OR_RETURN(PointRecord record, DecodePointRecord(*values[0]));
    TESSERA_ASSIGN_OR_RETURN(record.payload_json, merger.Merge(record.payload_json));
    if (record.payload_json.size() > kPayloadBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the payload of point ", entry.id.ToString(), " would have ", record.payload_json.size(),
          " bytes, at most ", kPayloadBytesMax, " are allowed"));
    }
    merged_bytes += record.payload_json.size();
    if (merged_bytes > kMergedBytesMax) {
      return base::OverLimit(
          absl::ResourceExhaustedError(absl::StrCat(
              "the merged payloads of ", old_.size(), " points have over ", kMergedBytesMax,
              " bytes, the most of one write; set the payload of fewer points at a time")),
          merged_bytes, kMergedBytesMax);
    }
    writes_.Put(Table::kPoints, key, EncodePointRecord(record));
  }
  return absl::OkStatus();
}

std::vector<base::PointId> Distinct(std::span<const base::PointId> ids) {
  std::vector<base::PointId> unique(ids.begin(), ids.end());
  std::sort(unique.begin(), unique.end());
  unique.erase(std::unique(unique.begin(), unique.end()), unique.end());
  return unique;
}

absl::Status CheckFits(const CollectionCore& core, uint64_t rows) {
  const uint64_t bytes = rows * core.FreshRowBytes();
  if (bytes <= core.engine.fresh->bytes_max()) return absl::OkStatus();
  return base::OverLimit(
      absl::ResourceExhaustedError(absl::StrCat(
          "the batch takes ", bytes, " bytes until it is in lists, at most ",
          core.engine.fresh->bytes_max(),
          " are allowed; write smaller batches, load in bulk, or raise the memory limit")),
      bytes, core.engine.fresh->bytes_max());
}

}  // namespace

absl::Status StoredCollection::Acknowledge(Ack ack) const {
  return ack == Ack::kWal ? engine_.rows->SyncLog() : absl::OkStatus();
}

// One attempt: nothing if the ids are to be looked up again.
absl::StatusOr<std::optional<UpsertOutcome>> StoredCollection::TryUpsert(
    std::span<const base::PointId> ids, const std::vector<Point>& points,
    const std::vector<std::string>& payloads, bool* no_room) {
  Write write(core_);
  TESSERA_RETURN_IF_ERROR(write.Find(ids));
  base::MutexLock lock(&core_.write_mu);
  TESSERA_RETURN_IF_ERROR(core_.CheckWritable());
  if (!write.IsCurrent(core_.state)) return std::nullopt;
  if (absl::Status room = core_.ReserveFresh(points.size()); !room.ok()) {
    *no_room = true;
    return room;
  }
  WriterState& state = core_.state;
  const base::RowId first = state.next_row;
  const base::RowId end{first.value + points.size()};
  // The rows are used up even if the write fails: it may be found done when the directory is opened
  // again.
  state.next_row = end;
  base::RowId reserved = state.reserved_end;
  if (end > reserved) {
    reserved = {end.value + kReservedRows};
    write.writes().Put(Table::kCatalog, ReservedRowsKey(record_.uid), EncodeRow(reserved));
  }
  write.AddDeaths(core_.state);
  write.AddPoints(first, points, payloads);
  if (absl::Status written = write.Commit(core_.state); !written.ok()) {
    core_.ReserveFresh(0).IgnoreError();
    return written;
  }
  state.reserved_end = reserved;
  for (size_t i = 0; i < points.size(); ++i) state.AppendFresh({first.value + i}, points[i]);
  core_.PublishView();
  return UpsertOutcome{.version = WriterState::VersionOf({end.value - 1}),
                       .replaced = write.old().size()};
}

absl::StatusOr<UpsertOutcome> StoredCollection::Upsert(std::vector<Point> points, Ack ack) {
  TESSERA_RETURN_IF_ERROR(ValidatePoints(schema(), RepeatedIds::kRefused, &points));
  TESSERA_ASSIGN_OR_RETURN(const std::vector<std::string> payloads, EncodePayloads(points));
  if (points.empty()) {
    return absl::InvalidArgumentError("the batch is empty, must have at least 1 point");
  }
  TESSERA_RETURN_IF_ERROR(CheckFits(core_, points.size()));
  std::vector<base::PointId> ids;
  ids.reserve(points.size());
  for (const Point& point : points) ids.push_back(point.id);
  for (int room_attempts = 0;;) {
    bool no_room = false;
    absl::StatusOr<std::optional<UpsertOutcome>> outcome;
    {
      const IdLocks::Hold hold(core_.ids, ids);
      outcome = TryUpsert(ids, points, payloads, &no_room);
    }
    if (no_room && ++room_attempts <= kRoomAttemptsMax) {
      // Without the locks of the ids: it may take an absorption.
      TESSERA_RETURN_IF_ERROR(MakeRoom(core_, points.size()));
      continue;
    }
    TESSERA_RETURN_IF_ERROR(outcome.status());
    if (!outcome->has_value()) continue;
    RequestMaintenance();
    TESSERA_RETURN_IF_ERROR(Acknowledge(ack));
    return **outcome;
  }
}

absl::StatusOr<uint64_t> StoredCollection::Delete(std::span<const base::PointId> ids, Ack ack) {
  const std::vector<base::PointId> unique = Distinct(ids);
  uint64_t deleted = 0;
  for (bool done = false; !done;) {
    const IdLocks::Hold hold(core_.ids, unique);
    Write write(core_);
    TESSERA_RETURN_IF_ERROR(write.Find(unique));
    base::MutexLock lock(&core_.write_mu);
    TESSERA_RETURN_IF_ERROR(core_.CheckWritable());
    if (!write.IsCurrent(core_.state)) continue;
    done = true;
    deleted = write.old().size();
    if (deleted == 0) continue;
    write.AddDeaths(core_.state);
    write.DeleteIds();
    TESSERA_RETURN_IF_ERROR(write.Commit(core_.state));
    core_.PublishView();
  }
  if (deleted > 0) RequestMaintenance();
  TESSERA_RETURN_IF_ERROR(Acknowledge(ack));
  return deleted;
}

absl::StatusOr<uint64_t> StoredCollection::SetPayload(std::span<const base::PointId> ids,
                                                      const base::Value& payload, Ack ack) {
  if (payload.object() == nullptr) {
    return absl::InvalidArgumentError("the payload is not a JSON object");
  }
  const std::vector<base::PointId> unique = Distinct(ids);
  for (bool done = false; !done;) {
    const IdLocks::Hold hold(core_.ids, unique);
    Write write(core_);
    TESSERA_RETURN_IF_ERROR(write.Find(unique));
    const std::vector<OldRow>& rows = write.old();
    for (size_t i = 0; i < unique.size(); ++i) {
      if (i >= rows.size() || rows[i].id != unique[i]) {
        return absl::NotFoundError(absl::StrCat("there is no point with id ", unique[i].ToString(),
                                                " in collection \"", schema().name, "\""));
      }
    }
    TESSERA_RETURN_IF_ERROR(write.MergePayloads(payload));
    base::MutexLock lock(&core_.write_mu);
    TESSERA_RETURN_IF_ERROR(core_.CheckWritable());
    // A load may have replaced the points; a publish moves their vectors only.
    if (!write.IsCurrent(core_.state)) continue;
    TESSERA_RETURN_IF_ERROR(write.Commit(core_.state));
    core_.PublishView();
    done = true;
  }
  TESSERA_RETURN_IF_ERROR(Acknowledge(ack));
  return unique.size();
}

}  // namespace tessera::db
