#include "db/point_reader.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/status_macros.h"
#include "index/raw_plane.h"
#include "storage/epoch.h"
#include "storage/page_cache.h"

namespace tessera::db {
namespace {

using storage::Table;

// Records read at a time. A record has its payload, wanted or not, of up to kPayloadBytesMax: so
// many are in memory beside what is returned.
constexpr size_t kRecordsPerRead = 4;
// Units pinned at a time while vectors are read from lists.
constexpr size_t kUnitsPerFetch = 256;

absl::Status Missing(base::RowId row, std::string_view what) {
  return absl::DataLossError(absl::StrCat("row ", row.value, " has no ", std::string(what)));
}

}  // namespace

absl::StatusOr<std::vector<std::optional<base::RowId>>> PointReader::FindRows(
    std::span<const base::PointId> ids) const {
  std::vector<std::string> keys;
  keys.reserve(ids.size());
  for (const base::PointId& id : ids) keys.push_back(IdKey(collection_.uid, id));
  TESSERA_ASSIGN_OR_RETURN(const std::vector<std::optional<std::string>> values,
                           engine_.rows->MultiGet(Table::kIds, keys, view_.rows.get()));
  std::vector<std::optional<base::RowId>> rows(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!values[i].has_value()) continue;
    TESSERA_ASSIGN_OR_RETURN(rows[i], DecodeRow(*values[i]));
  }
  return rows;
}

absl::StatusOr<std::vector<StoredPoint>> PointReader::Read(std::span<const base::RowId> rows,
                                                           Projection with) const {
  uint64_t vector_bytes = 0;
  if (with.vectors) {
    for (const FieldView& field : view_.fields) {
      vector_bytes += base::VectorBytes(field.search.field);
    }
  }
  std::vector<StoredPoint> points;
  uint64_t bytes = 0;
  bool full = false;
  for (size_t begin = 0; begin < rows.size() && !full; begin += kRecordsPerRead) {
    const auto portion = rows.subspan(begin, std::min(kRecordsPerRead, rows.size() - begin));
    TESSERA_ASSIGN_OR_RETURN(std::vector<PointRecord> records, ReadRecords(portion));
    for (PointRecord& record : records) {
      bytes += vector_bytes + (with.payload ? record.payload_json.size() : 0);
      full = bytes > with.bytes_max && !points.empty();
      if (full) break;
      StoredPoint& point = points.emplace_back();
      point.id = std::move(record.id);
      point.version = record.version;
      if (!with.payload || record.payload_json.empty()) continue;
      if (with.payload_as_text) {
        point.payload_json = std::move(record.payload_json);
      } else {
        TESSERA_ASSIGN_OR_RETURN(point.payload, base::ParseJson(record.payload_json));
      }
    }
  }
  if (with.vectors) TESSERA_RETURN_IF_ERROR(ReadVectors(rows.first(points.size()), &points));
  return points;
}

absl::StatusOr<std::vector<PointRecord>> PointReader::ReadRecords(
    std::span<const base::RowId> rows) const {
  std::vector<std::string> keys;
  keys.reserve(rows.size());
  for (const base::RowId row : rows) keys.push_back(RowKey(collection_.uid, row));
  TESSERA_ASSIGN_OR_RETURN(const std::vector<std::optional<std::string>> values,
                           engine_.rows->MultiGet(Table::kPoints, keys, view_.rows.get()));
  std::vector<PointRecord> records;
  records.reserve(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!values[i].has_value()) return Missing(rows[i], "point record");
    TESSERA_ASSIGN_OR_RETURN(records.emplace_back(), DecodePointRecord(*values[i]));
  }
  return records;
}

absl::Status PointReader::ReadVectors(std::span<const base::RowId> rows,
                                      std::vector<StoredPoint>* points) const {
  for (size_t field = 0; field < view_.fields.size(); ++field) {
    for (StoredPoint& point : *points) {
      point.vectors.push_back({.field = view_.fields[field].search.field.name, .bytes = {}});
    }
    TESSERA_RETURN_IF_ERROR(ReadFreshVectors(field, rows, points));
    TESSERA_RETURN_IF_ERROR(ReadListVectors(field, rows, points));
  }
  return absl::OkStatus();
}

absl::Status PointReader::ReadFreshVectors(size_t field, std::span<const base::RowId> rows,
                                           std::vector<StoredPoint>* points) const {
  std::vector<size_t> order;
  std::vector<std::string> keys;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] < view_.absorbed_end) continue;
    order.push_back(i);
    keys.push_back(FreshKey(collection_.uid, static_cast<uint8_t>(field), rows[i]));
  }
  if (order.empty()) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(std::vector<std::optional<std::string>> values,
                           engine_.rows->MultiGet(Table::kFresh, keys, view_.rows.get()));
  for (size_t i = 0; i < order.size(); ++i) {
    if (!values[i].has_value() || values[i]->size() < sizeof(uint64_t)) {
      return Missing(rows[order[i]], "fresh vector");
    }
    (*points)[order[i]].vectors[field].bytes = values[i]->substr(sizeof(uint64_t));
  }
  return absl::OkStatus();
}

absl::Status PointReader::ReadListVectors(size_t field, std::span<const base::RowId> rows,
                                          std::vector<StoredPoint>* points) const {
  std::vector<size_t> order;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] < view_.absorbed_end) order.push_back(i);
  }
  if (order.empty()) return absl::OkStatus();
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return rows[a] < rows[b]; });
  std::vector<base::RowId> sorted;
  sorted.reserve(order.size());
  for (const size_t i : order) sorted.push_back(rows[i]);

  const FieldView& view = view_.fields[field];
  const query::IndexView& index = *view.search.index;
  TESSERA_ASSIGN_OR_RETURN(const std::vector<std::optional<uint64_t>> positions,
                           view.index->Locate(sorted));
  std::vector<storage::FetchRequest> requests;
  std::vector<uint32_t> slots;
  for (size_t i = 0; i < sorted.size(); ++i) {
    const std::optional<version::PartPlace> place =
        positions[i].has_value() ? view.index->FindPlace(*positions[i]) : std::nullopt;
    if (!place.has_value()) return Missing(sorted[i], "place in a list");
    const query::ListPart& part = index.parts[place->part];
    requests.push_back({.table = &*part.planes->raw,
                        .unit = part.raw_unit + place->slot / index.raw_rows_per_unit});
    slots.push_back(place->slot % index.raw_rows_per_unit);
  }
  const index::RawUnitShape shape(index.field);
  const size_t vector_bytes = base::VectorBytes(index.field);
  absl::Status status;
  for (size_t begin = 0; begin < requests.size(); begin += kUnitsPerFetch) {
    storage::CacheGuard guard;
    const size_t count = std::min(kUnitsPerFetch, requests.size() - begin);
    TESSERA_RETURN_IF_ERROR(engine_.cache->Fetch(
        guard, std::span(requests).subspan(begin, count), [&](size_t i, const std::byte* unit) {
          const size_t slot = slots[begin + i];
          const base::RowId row = index::RawRowId(shape.Header(unit, slot));
          if (row != sorted[begin + i]) {
            status = absl::DataLossError(absl::StrCat("row ", sorted[begin + i].value,
                                                      " is not where it should be, row ", row.value,
                                                      " is"));
          }
          (*points)[order[begin + i]].vectors[field].bytes.assign(
              reinterpret_cast<const char*>(shape.Vector(unit, slot)), vector_bytes);
        }));
    TESSERA_RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

}  // namespace tessera::db
