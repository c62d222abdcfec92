// The write path: one write of a client is one atomic change of the row store, then of the state in
// memory, then a new read view; the log is synced outside the lock, so that writers share it.
//
// What a write has to read from disk (the rows of its ids, their places in the lists, payloads) it
// reads before it takes the write lock: the locks of its ids keep other writes from changing that,
// and a publish or load that did is seen by the number of the layout, and the write begins again.
#include <algorithm>
#include <optional>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/status_details.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "db/collection.h"
#include "db/make_room.h"
#include "db/payload_merge.h"
#include "db/point_reader.h"
#include "db/validate.h"
#include "query/filter/field_record.h"

namespace tessera::db {
namespace {

using storage::Durability;
using storage::Table;
using storage::WriteSet;

// Rows reserved at a time: so many numbers are skipped at most after a crash.
constexpr uint64_t kReservedRows = uint64_t{1} << 16;
// A write that finds no room makes some, and finds it taken by another, this often.
constexpr int kRoomAttemptsMax = 16;

// Points to be written, with what is made of them before any lock is taken.
struct NewRows {
  std::vector<Point> points;
  std::vector<std::string> payloads;  // canonical text, "" for none
  std::vector<std::string> fields;    // field records
  std::vector<uint64_t> versions;     // empty: those of the rows they get

  uint64_t VersionAt(size_t i, base::RowId row) const {
    return versions.empty() ? WriterState::VersionOf(row) : versions[i];
  }
  uint64_t field_bytes() const {
    uint64_t bytes = 0;
    for (const std::string& record : fields) bytes += record.size();
    return bytes;
  }
};

absl::Status AddPayload(std::string json, const base::PointId& id, NewRows* rows) {
  if (json.size() > kPayloadBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "point ", rows->payloads.size(), " (id ", id.ToString(), "): has a payload of ",
        json.size(), " bytes, at most ", kPayloadBytesMax, " are allowed"));
  }
  TESSERA_RETURN_IF_ERROR(query::EncodeFieldsOfJson(json, &rows->fields.emplace_back()));
  rows->payloads.push_back(std::move(json));
  return absl::OkStatus();
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

  // What the collection has under the ids, in their order; if `rows` has any, only what still has
  // those. Reads from disk.
  absl::Status Find(std::span<const base::PointId> ids, std::span<const base::RowId> rows = {});
  const std::vector<OldRow>& old() const { return old_; }

  // Whether what was found is still true.
  bool IsCurrent(const WriterState& state) const { return layout_.number == state.layout_number(); }

  void AddDeaths(const WriterState& state);
  void DeleteIds();
  void AddPoints(base::RowId first, const NewRows& rows);
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

absl::Status Write::Find(std::span<const base::PointId> ids, std::span<const base::RowId> rows) {
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
    if (rows.empty() || rows[i] == row) old_.push_back({.id = ids[i], .row = row});
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

void Write::AddPoints(base::RowId first, const NewRows& rows) {
  const uint32_t uid = core_.record.uid;
  for (size_t i = 0; i < rows.points.size(); ++i) {
    const Point& point = rows.points[i];
    const base::RowId row{first.value + i};
    const uint64_t version = rows.VersionAt(i, row);
    writes_.Put(Table::kPoints, RowKey(uid, row),
                EncodePointRecord({point.id, version, rows.payloads[i]}));
    writes_.Put(Table::kIds, IdKey(uid, point.id), EncodeRow(row));
    for (size_t field = 0; field < point.vectors.size(); ++field) {
      writes_.Put(Table::kFresh, FreshKey(uid, static_cast<uint8_t>(field), row),
                  EncodeFresh(version, point.vectors[field].bytes));
    }
  }
}

absl::Status Write::Commit(WriterState& state) {
  TESSERA_RETURN_IF_ERROR(core_.engine.rows->Write(writes_, Durability::kBuffered));
  if (kills_) state.ApplyDeaths(old_, positions_);
  return absl::OkStatus();
}

std::vector<base::PointId> Distinct(std::span<const base::PointId> ids) {
  std::vector<base::PointId> unique(ids.begin(), ids.end());
  std::sort(unique.begin(), unique.end());
  unique.erase(std::unique(unique.begin(), unique.end()), unique.end());
  return unique;
}

absl::Status CheckFits(const CollectionCore& core, uint64_t bytes) {
  if (bytes <= core.engine.fresh->bytes_max()) return absl::OkStatus();
  return base::OverLimit(
      absl::ResourceExhaustedError(absl::StrCat(
          "the batch takes ", bytes, " bytes until it is in lists, at most ",
          core.engine.fresh->bytes_max(),
          " are allowed; write smaller batches, load in bulk, or raise the memory limit")),
      bytes, core.engine.fresh->bytes_max());
}

// Gives the rows numbers and writes them, in place of what the write has found. An error with
// `*no_room` set: room for fresh rows is to be made first.
absl::StatusOr<base::RowId> Insert(CollectionCore& core, Write& write, const NewRows& rows,
                                   bool* no_room) ABSL_EXCLUSIVE_LOCKS_REQUIRED(core.write_mu) {
  const uint64_t bytes = core.FreshBytes(rows.points.size(), rows.field_bytes());
  if (absl::Status room = core.ReserveFresh(bytes); !room.ok()) {
    *no_room = true;
    return room;
  }
  WriterState& state = core.state;
  const base::RowId first = state.next_row;
  const base::RowId end{first.value + rows.points.size()};
  // The rows are used up even if the write fails: it may be found done when the directory is opened
  // again.
  state.next_row = end;
  base::RowId reserved = state.reserved_end;
  if (end > reserved) {
    reserved = {end.value + kReservedRows};
    write.writes().Put(Table::kCatalog, ReservedRowsKey(core.record.uid), EncodeRow(reserved));
  }
  write.AddDeaths(state);
  write.AddPoints(first, rows);
  if (absl::Status written = write.Commit(state); !written.ok()) {
    core.ReserveFresh(0).IgnoreError();
    return written;
  }
  state.reserved_end = reserved;
  for (size_t i = 0; i < rows.points.size(); ++i) {
    const base::RowId row{first.value + i};
    state.AppendFresh(row, rows.VersionAt(i, row), rows.points[i], rows.fields[i]);
  }
  core.PublishView();
  return end;
}

// Calls `attempt` until it has written, making room for `bytes` (which it may change) of fresh rows
// when it finds none.
// `attempt(&no_room)` answers whether it is done; false: what it looked up is no longer true.
absl::Status WithRoom(CollectionCore& core, const uint64_t& bytes,
                      absl::FunctionRef<absl::StatusOr<bool>(bool* no_room)> attempt) {
  for (int room_attempts = 0;;) {
    bool no_room = false;
    const absl::StatusOr<bool> done = attempt(&no_room);
    if (no_room && ++room_attempts <= kRoomAttemptsMax) {
      // Without the locks of the ids: it may take an absorption.
      TESSERA_RETURN_IF_ERROR(MakeRoom(core, bytes));
      continue;
    }
    TESSERA_RETURN_IF_ERROR(done.status());
    if (*done) return absl::OkStatus();
  }
}

// The points of `old`, with vectors, their payloads merged.
absl::StatusOr<NewRows> Merged(CollectionCore& core, const ReadView& view,
                               const std::vector<OldRow>& old, const PayloadMerger& merger) {
  std::vector<base::RowId> wanted;
  for (const OldRow& entry : old) wanted.push_back(entry.row);
  const uint64_t vector_bytes = base::VectorBytes(core.schema()) * old.size();
  const PointReader reader(core.engine, core.record, view);
  TESSERA_ASSIGN_OR_RETURN(std::vector<StoredPoint> points,
                           reader.Read(wanted, {.payload = true,
                                                .vectors = true,
                                                .payload_as_text = true,
                                                .bytes_max = vector_bytes + kMergedBytesMax}));
  uint64_t merged_bytes = points.size() < old.size() ? kMergedBytesMax + 1 : 0;
  NewRows rows;
  for (StoredPoint& point : points) {
    TESSERA_ASSIGN_OR_RETURN(std::string merged, merger.Merge(point.payload_json));
    merged_bytes += merged.size();
    if (merged_bytes > kMergedBytesMax) break;
    TESSERA_RETURN_IF_ERROR(AddPayload(std::move(merged), point.id, &rows));
    rows.versions.push_back(point.version);
    rows.points.push_back(
        {.id = std::move(point.id), .vectors = std::move(point.vectors), .payload = {}});
  }
  if (merged_bytes <= kMergedBytesMax) return rows;
  return base::OverLimit(
      absl::ResourceExhaustedError(
          absl::StrCat("the merged payloads of ", old.size(), " points have over ", kMergedBytesMax,
                       " bytes, the most of one write; set the payload of fewer points at a time")),
      merged_bytes, kMergedBytesMax);
}

}  // namespace

absl::Status StoredCollection::Acknowledge(Ack ack) const {
  return ack == Ack::kWal ? engine_.rows->SyncLog() : absl::OkStatus();
}

absl::StatusOr<UpsertOutcome> StoredCollection::Upsert(std::vector<Point> points, Ack ack) {
  TESSERA_RETURN_IF_ERROR(ValidatePoints(schema(), RepeatedIds::kRefused, &points));
  if (points.empty()) {
    return absl::InvalidArgumentError("the batch is empty, must have at least 1 point");
  }
  NewRows rows;
  std::vector<base::PointId> ids;
  ids.reserve(points.size());
  for (Point& point : points) {
    std::string json =
        point.payload.is_null() ? std::move(point.payload_json) : point.payload.ToJson();
    TESSERA_RETURN_IF_ERROR(AddPayload(std::move(json), point.id, &rows));
    point.payload = {};
    ids.push_back(point.id);
  }
  rows.points = std::move(points);
  const uint64_t bytes = core_.FreshBytes(rows.points.size(), rows.field_bytes());
  TESSERA_RETURN_IF_ERROR(CheckFits(core_, bytes));
  UpsertOutcome outcome;
  const auto attempt = [&](bool* no_room) -> absl::StatusOr<bool> {
    const IdLocks::Hold hold(core_.ids, ids);
    Write write(core_);
    TESSERA_RETURN_IF_ERROR(write.Find(ids));
    base::MutexLock lock(&core_.write_mu);
    TESSERA_RETURN_IF_ERROR(core_.CheckWritable());
    if (!write.IsCurrent(core_.state)) return false;
    TESSERA_ASSIGN_OR_RETURN(const base::RowId end, Insert(core_, write, rows, no_room));
    outcome = {.version = WriterState::VersionOf({end.value - 1}), .replaced = write.old().size()};
    return true;
  };
  TESSERA_RETURN_IF_ERROR(WithRoom(core_, bytes, attempt));
  RequestMaintenance();
  TESSERA_RETURN_IF_ERROR(Acknowledge(ack));
  return outcome;
}

absl::StatusOr<uint64_t> StoredCollection::Delete(std::span<const base::PointId> ids, Ack ack) {
  return DeleteRows(Distinct(ids), {}, ack);
}

// Rows, if there are any, are those that the ids must still have.
absl::StatusOr<uint64_t> StoredCollection::DeleteRows(std::span<const base::PointId> ids,
                                                      std::span<const base::RowId> rows, Ack ack) {
  uint64_t deleted = 0;
  for (bool done = false; !done;) {
    const IdLocks::Hold hold(core_.ids, ids);
    Write write(core_);
    TESSERA_RETURN_IF_ERROR(write.Find(ids, rows));
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
  return SetPayloadOfRows(Distinct(ids), {}, payload, ack);
}

// A point with another payload is another row, with the same vectors and version: so what was made
// of a row's payload never changes. An overlay over the columns of absorbed rows would save reading
// and writing the vectors, but every filter would pay for it as long as it lasts, and a log, an
// open and a merge would have to know of it.
absl::StatusOr<uint64_t> StoredCollection::SetPayloadOfRows(std::span<const base::PointId> ids,
                                                            std::span<const base::RowId> rows,
                                                            const base::Value& payload, Ack ack) {
  if (payload.object() == nullptr) {
    return absl::InvalidArgumentError("the payload is not a JSON object");
  }
  if (ids.empty()) return 0;
  const PayloadMerger merger(payload);
  const uint64_t vector_bytes = core_.FreshBytes(ids.size(), 0);
  TESSERA_RETURN_IF_ERROR(CheckFits(core_, vector_bytes));
  uint64_t changed = 0;
  uint64_t bytes = vector_bytes;
  const auto attempt = [&](bool* no_room) -> absl::StatusOr<bool> {
    // The vectors as they are read, and in the write to the log.
    TESSERA_ASSIGN_OR_RETURN(const base::MemoryReservation memory,
                             engine_.budget->Reserve("writes", 2 * vector_bytes));
    const IdLocks::Hold hold(core_.ids, ids);
    Write write(core_);
    TESSERA_RETURN_IF_ERROR(write.Find(ids, rows));
    const std::vector<OldRow>& old = write.old();
    for (size_t i = 0; rows.empty() && i < ids.size(); ++i) {
      if (i >= old.size() || old[i].id != ids[i]) {
        return absl::NotFoundError(absl::StrCat("there is no point with id ", ids[i].ToString(),
                                                " in collection \"", schema().name, "\""));
      }
    }
    changed = old.size();
    if (old.empty()) return true;
    // Later than what was found, and the rows of these ids stay: it has them all.
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<const ReadView> view, LiveView());
    TESSERA_ASSIGN_OR_RETURN(const NewRows merged, Merged(core_, *view, old, merger));
    bytes = core_.FreshBytes(merged.points.size(), merged.field_bytes());
    TESSERA_RETURN_IF_ERROR(CheckFits(core_, bytes));
    base::MutexLock lock(&core_.write_mu);
    TESSERA_RETURN_IF_ERROR(core_.CheckWritable());
    if (!write.IsCurrent(core_.state)) return false;
    TESSERA_RETURN_IF_ERROR(Insert(core_, write, merged, no_room).status());
    return true;
  };
  TESSERA_RETURN_IF_ERROR(WithRoom(core_, bytes, attempt));
  RequestMaintenance();
  TESSERA_RETURN_IF_ERROR(Acknowledge(ack));
  return changed;
}

}  // namespace tessera::db
