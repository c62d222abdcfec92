#include "db/recovery.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/status_macros.h"
#include "db/make_room.h"
#include "query/filter/field_record.h"
#include "storage/manifest.h"
#include "version/leased_version.h"

namespace tessera::db {
namespace {

using storage::Table;

constexpr size_t kTombstonePortion = size_t{1} << 15;
// Rows between two looks at the budget.
constexpr uint64_t kFreshPortion = 256;
constexpr uint64_t kFreshPortionFieldBytes = uint64_t{256} << 10;

class Recovery {
 public:
  explicit Recovery(CollectionCore& core) : core_(core), uid_(core.record.uid) {}

  absl::StatusOr<Recovered> Run() {
    TESSERA_ASSIGN_OR_RETURN(const base::RowId reserved_end, ReadRow(ReservedRowsKey(uid_)));
    TESSERA_ASSIGN_OR_RETURN(absorbed_end_, ReadRow(AbsorbedEndKey(uid_)));
    TESSERA_ASSIGN_OR_RETURN(Indexes indexes, OpenIndexes());
    const auto index = indexes[0];
    {
      base::MutexLock lock(&core_.write_mu);
      core_.state.SetAbsorbed(std::move(indexes), absorbed_end_);
      core_.state.next_row = absorbed_end_;
      core_.state.reserved_end = std::max(reserved_end, absorbed_end_);
    }
    TESSERA_RETURN_IF_ERROR(MarkTombstones());
    TESSERA_RETURN_IF_ERROR(LoadFresh());
    TESSERA_RETURN_IF_ERROR(LookForStaleFresh());
    base::MutexLock lock(&core_.write_mu);
    WriterState& state = core_.state;
    state.reserved_end = std::max(state.reserved_end, state.next_row);
    state.next_row = state.reserved_end;
    state.CountRecovered();
    core_.PublishView();
    return recovered_;
  }

 private:
  absl::StatusOr<base::RowId> ReadRow(const std::string& key) const {
    TESSERA_ASSIGN_OR_RETURN(const std::optional<std::string> value,
                             core_.engine.rows->Get(Table::kCatalog, key));
    if (!value.has_value()) return base::RowId();
    return DecodeRow(*value);
  }

  absl::StatusOr<Indexes> OpenIndexes() {
    Indexes indexes;
    for (size_t i = 0; i < core_.schema().vectors.size(); ++i) {
      TESSERA_ASSIGN_OR_RETURN(
          const std::optional<std::string> bytes,
          core_.engine.rows->Get(Table::kManifest, FieldKey(uid_, static_cast<uint8_t>(i))));
      if (i > 0 && bytes.has_value() != (indexes[0] != nullptr)) {
        return absl::DataLossError("some vector fields have an index version, others have none");
      }
      indexes.emplace_back();
      if (!bytes.has_value()) continue;
      TESSERA_ASSIGN_OR_RETURN(storage::VersionRecord version,
                               storage::DecodeVersionRecord(*bytes));
      const auto absorbed_end = version.counters.find(version::kAbsorbedEndCounter);
      if (absorbed_end == version.counters.end() || absorbed_end->second != absorbed_end_.value) {
        return absl::DataLossError(
            "the end of absorbed rows is not the same in an index version and in the catalog");
      }
      TESSERA_RETURN_IF_ERROR(
          core_.engine.extents->CheckPresent(storage::ReferencedFileEnds(version)));
      TESSERA_ASSIGN_OR_RETURN(indexes.back(), version::OpenLeasedVersion(core_.engine.versions,
                                                                          core_.schema().vectors[i],
                                                                          std::move(version)));
    }
    return indexes;
  }

  // In portions: there may be as many tombstones as rows.
  absl::Status MarkTombstones() {
    const auto it = core_.engine.rows->NewIterator(Table::kLocations, UidKey(uid_));
    Indexes indexes;
    std::vector<query::LiveBitmap> live;
    {
      base::MutexLock lock(&core_.write_mu);
      indexes = core_.state.indexes();
    }
    for (const auto& index : indexes) {
      live.emplace_back(index == nullptr ? query::LiveBitmap()
                                         : query::LiveBitmap(index->view->positions));
    }
    std::vector<base::RowId> rows;
    const auto mark = [&]() -> absl::Status {
      for (size_t field = 0; field < indexes.size(); ++field) {
        TESSERA_ASSIGN_OR_RETURN(const std::vector<uint64_t> positions,
                                 FindPositions(indexes[field].get(), rows));
        recovered_.has_garbage |= positions.size() < rows.size();
        if (!positions.empty()) live[field] = live[field].WithCleared(positions);
      }
      rows.clear();
      return absl::OkStatus();
    };
    for (; it->Valid(); it->Next()) {
      TESSERA_ASSIGN_OR_RETURN(rows.emplace_back(), RowOfKey(it->key()));
      if (rows.size() == kTombstonePortion) TESSERA_RETURN_IF_ERROR(mark());
    }
    TESSERA_RETURN_IF_ERROR(it->status());
    TESSERA_RETURN_IF_ERROR(mark());
    base::MutexLock lock(&core_.write_mu);
    for (size_t field = 0; field < indexes.size(); ++field) {
      core_.state.SetLive(field, std::move(live[field]));
    }
    return absl::OkStatus();
  }

  absl::Status LoadFresh() {
    const auto points = core_.engine.rows->NewIterator(Table::kPoints, UidKey(uid_));
    std::vector<std::unique_ptr<storage::RowIterator>> fields;
    for (size_t i = 0; i < core_.schema().vectors.size(); ++i) {
      const auto number = static_cast<uint8_t>(i);
      fields.push_back(core_.engine.rows->NewIterator(Table::kFresh, FieldKey(uid_, number)));
      fields.back()->Seek(FreshKey(uid_, number, absorbed_end_));
    }
    while (fields[0]->Valid()) {
      TESSERA_RETURN_IF_ERROR(MakeRoomForPortion());
      uint64_t field_bytes = 0;
      for (uint64_t i = 0;
           i < kFreshPortion && field_bytes < kFreshPortionFieldBytes && fields[0]->Valid(); ++i) {
        TESSERA_RETURN_IF_ERROR(LoadRow(*points, fields, &field_bytes));
      }
    }
    for (const auto& it : fields) {
      TESSERA_RETURN_IF_ERROR(it->status());
      if (it->Valid()) return absl::DataLossError("vector fields have different fresh rows");
    }
    base::MutexLock lock(&core_.write_mu);
    return core_.ReserveFresh(0);
  }

  uint64_t PortionBytes() const { return core_.FreshBytes(kFreshPortion, kFreshPortionFieldBytes); }

  absl::Status MakeRoomForPortion() {
    {
      base::MutexLock lock(&core_.write_mu);
      absl::Status reserved = core_.ReserveFresh(PortionBytes());
      // What only reads absorbs nothing: its limit has to have room for what is fresh.
      if (reserved.ok() || core_.engine.read_only) return reserved;
      // Its own rows may be those that are absorbed.
      core_.state.CountRecovered();
      core_.PublishView();
    }
    return MakeRoom(core_, PortionBytes());
  }

  absl::Status LoadRow(storage::RowIterator& points,
                       std::vector<std::unique_ptr<storage::RowIterator>>& fields,
                       uint64_t* field_bytes) {
    TESSERA_ASSIGN_OR_RETURN(const base::RowId row, RowOfKey(fields[0]->key()));
    const std::string row_key = RowKey(uid_, row);
    points.Seek(row_key);
    TESSERA_RETURN_IF_ERROR(points.status());
    if (!points.Valid() || points.key() != row_key) {
      return absl::DataLossError(absl::StrCat("fresh row ", row.value, " has no point"));
    }
    TESSERA_ASSIGN_OR_RETURN(const PointRecord point, DecodePointRecord(points.value()));
    std::string record;
    TESSERA_RETURN_IF_ERROR(query::EncodeFieldsOfJson(point.payload_json, &record));
    *field_bytes += record.size();
    base::MutexLock lock(&core_.write_mu);
    for (size_t i = 0; i < fields.size(); ++i) {
      storage::RowIterator& it = *fields[i];
      TESSERA_RETURN_IF_ERROR(it.status());
      if (!it.Valid() || it.key() != FreshKey(uid_, static_cast<uint8_t>(i), row)) {
        return absl::DataLossError(
            absl::StrCat("fresh row ", row.value, " is not in every vector field"));
      }
      const base::VectorFieldSchema& field = core_.schema().vectors[i];
      base::Decoder decoder(it.value());
      uint64_t version = 0;
      std::string_view vector;
      TESSERA_RETURN_IF_ERROR(decoder.U64(&version));
      TESSERA_RETURN_IF_ERROR(decoder.Raw(base::VectorBytes(field), &vector));
      TESSERA_RETURN_IF_ERROR(decoder.ExpectEnd());
      core_.state.RecoverFresh(i, row, point.id, version, std::as_bytes(std::span(vector)), record);
      it.Next();
    }
    core_.state.next_row = {row.value + 1};
    return absl::OkStatus();
  }

  absl::Status LookForStaleFresh() {
    for (size_t i = 0; i < core_.schema().vectors.size(); ++i) {
      const auto number = static_cast<uint8_t>(i);
      const auto it = core_.engine.rows->NewIterator(Table::kFresh, FieldKey(uid_, number));
      recovered_.has_garbage |= it->Valid() && it->key() < FreshKey(uid_, number, absorbed_end_);
      TESSERA_RETURN_IF_ERROR(it->status());
    }
    return absl::OkStatus();
  }

  CollectionCore& core_;
  const uint32_t uid_;
  base::RowId absorbed_end_;  // at the beginning
  Recovered recovered_;
};

}  // namespace

absl::StatusOr<Recovered> Recover(CollectionCore& core) {
  return Recovery(core).Run();
}

}  // namespace tessera::db
