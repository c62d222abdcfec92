// Points, queries and hits.
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "api/convert.h"
#include "api/formats/element_convert.h"
#include "api/status.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::api {
namespace {

using google::protobuf::RepeatedPtrField;

// Errors: kInvalidArgument: no JSON object.
absl::StatusOr<std::string> CanonicalPayload(const std::string& text) {
  if (text.empty()) return std::string();
  absl::StatusOr<std::string> payload = base::CanonicalJson(text);
  if (!payload.ok()) return Prefixed("the payload is ", payload.status());
  if (*payload == "null") return std::string();
  if (payload->front() != '{') {
    return absl::InvalidArgumentError("the payload must be a JSON object");
  }
  return payload;
}

// `vector` in the element type of `field`.
absl::StatusOr<std::string> VectorBytes(const base::VectorFieldSchema& field,
                                        const v1::Vector& vector) {
  if (vector.values_size() > 0 && !vector.data().empty()) {
    return absl::InvalidArgumentError("a vector has both values and data");
  }
  std::string_view elements = vector.data();
  base::ElementType type = base::ElementType::kF32;
  if (vector.values_size() > 0) {
    elements = {reinterpret_cast<const char*>(vector.values().data()),
                static_cast<size_t>(vector.values_size()) * sizeof(float)};
  } else {
    TESSERA_ASSIGN_OR_RETURN(type, FromProto(vector.type(), field.type));
  }
  const size_t want = field.dim * base::ElementBytes(type);
  if (elements.size() != want) {
    return absl::InvalidArgumentError(absl::StrCat("a vector has ", elements.size(),
                                                   " bytes, dimension ", field.dim, " of ",
                                                   base::Sv(base::ToString(type)), " has ", want));
  }
  std::string bytes;
  TESSERA_RETURN_IF_ERROR(ConvertElements(elements, type, field.type, Conversion::kExact, &bytes));
  return bytes;
}

absl::StatusOr<db::Point> PointFromProto(const base::CollectionSchema& schema,
                                         const v1::Point& point) {
  db::Point out;
  TESSERA_ASSIGN_OR_RETURN(out.id, FromProto(point.id()));
  if (point.has_vector()) TESSERA_RETURN_IF_ERROR(FindField(schema, "").status());
  for (const auto& [name, vector] : point.vectors()) {
    TESSERA_RETURN_IF_ERROR(FindField(schema, name).status());
    if (name.empty() && point.has_vector()) {
      return absl::InvalidArgumentError("point has two vectors for the default field");
    }
  }
  for (const base::VectorFieldSchema& field : schema.vectors) {
    const v1::Vector* vector = nullptr;
    if (field.name.empty() && point.has_vector()) {
      vector = &point.vector();
    } else if (const auto named = point.vectors().find(field.name);
               named != point.vectors().end()) {
      vector = &named->second;
    }
    if (vector == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("point has no vector for field \"", field.name, "\""));
    }
    TESSERA_ASSIGN_OR_RETURN(std::string bytes, VectorBytes(field, *vector));
    out.vectors.push_back({.field = field.name, .bytes = std::move(bytes)});
  }
  const size_t given = point.vectors().size() + (point.has_vector() ? 1 : 0);
  if (given != schema.vectors.size()) {
    return absl::InvalidArgumentError(absl::StrCat("point has ", given, " vectors, the collection ",
                                                   schema.vectors.size(), " fields"));
  }
  TESSERA_ASSIGN_OR_RETURN(out.payload_json, CanonicalPayload(point.payload()));
  return out;
}

absl::StatusOr<std::vector<base::PointId>> IdsFromColumn(const v1::IdColumn& column) {
  const int kinds = (column.num_size() > 0 ? 1 : 0) + (column.uuids().empty() ? 0 : 1) +
                    (column.any_size() > 0 ? 1 : 0);
  if (kinds > 1) return InvalidField("batch.ids", "only one of num, uuids and any may be filled");
  std::vector<base::PointId> ids;
  if (column.num_size() > 0) {
    ids.reserve(static_cast<size_t>(column.num_size()));
    for (const uint64_t number : column.num()) ids.emplace_back(number);
  } else if (!column.uuids().empty()) {
    base::Uuid uuid;
    constexpr size_t kBytes = sizeof(uuid.bytes);
    if (column.uuids().size() % kBytes != 0) {
      return InvalidField("batch.ids.uuids",
                          absl::StrCat(column.uuids().size(), " bytes, a UUID has ", kBytes));
    }
    for (size_t at = 0; at < column.uuids().size(); at += kBytes) {
      std::memcpy(uuid.bytes.data(), column.uuids().data() + at, kBytes);
      ids.emplace_back(uuid);
    }
  } else {
    for (const v1::PointId& id : column.any()) {
      absl::StatusOr<base::PointId> parsed = FromProto(id);
      if (!parsed.ok()) {
        return BlameField(parsed.status(), absl::StrCat("batch.ids.any[", ids.size(), "]"));
      }
      ids.push_back(*std::move(parsed));
    }
  }
  return ids;
}

absl::Status AddColumn(const base::VectorFieldSchema& field, const v1::VectorColumn& column,
                       const std::string& where, std::vector<db::Point>* points) {
  absl::StatusOr<base::ElementType> type = FromProto(column.type(), field.type);
  if (!type.ok()) return BlameField(type.status(), where + ".type");
  const size_t row_bytes = field.dim * base::ElementBytes(*type);
  if (column.data().size() != points->size() * row_bytes) {
    return InvalidField(
        where + ".data",
        absl::StrCat(column.data().size(), " bytes, ", points->size(), " points of dimension ",
                     field.dim, " in ", base::Sv(base::ToString(*type)), " have ",
                     points->size() * row_bytes));
  }
  for (size_t i = 0; i < points->size(); ++i) {
    db::FieldVector& vector = (*points)[i].vectors.emplace_back();
    vector.field = field.name;
    const std::string_view row = std::string_view(column.data()).substr(i * row_bytes, row_bytes);
    const absl::Status status =
        ConvertElements(row, *type, field.type, Conversion::kExact, &vector.bytes);
    if (!status.ok()) {
      return InvalidField(where + ".data",
                          absl::StrCat("row ", i, ": ", std::string(status.message())));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<db::Point>> PointsFromBatch(const base::CollectionSchema& schema,
                                                       const v1::PointBatch& batch) {
  TESSERA_ASSIGN_OR_RETURN(std::vector<base::PointId> ids, IdsFromColumn(batch.ids()));
  if (ids.size() > db::kBatchPointsMax) {
    return InvalidField("batch.ids",
                        absl::StrCat(ids.size(), " points, at most ", db::kBatchPointsMax));
  }
  std::vector<db::Point> points(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) points[i].id = std::move(ids[i]);
  if (static_cast<size_t>(batch.vectors_size()) != schema.vectors.size()) {
    return InvalidField("batch.vectors",
                        absl::StrCat(batch.vectors_size(), " columns, the collection has ",
                                     schema.vectors.size(), " vector fields"));
  }
  for (int i = 0; i < batch.vectors_size(); ++i) {
    const std::string where = absl::StrCat("batch.vectors[", i, "]");
    const v1::VectorColumn& column = batch.vectors(i);
    const absl::StatusOr<const base::VectorFieldSchema*> field = FindField(schema, column.field());
    if (!field.ok()) return BlameField(field.status(), where + ".field");
    for (int other = 0; other < i; ++other) {
      if (batch.vectors(other).field() == column.field()) {
        return InvalidField(where + ".field", "a field has two columns");
      }
    }
    TESSERA_RETURN_IF_ERROR(AddColumn(**field, column, where, &points));
  }
  if (batch.payloads_size() == 0) return points;
  if (static_cast<size_t>(batch.payloads_size()) != points.size()) {
    return InvalidField("batch.payloads",
                        absl::StrCat(batch.payloads_size(), " payloads, ", points.size(), " ids"));
  }
  for (size_t i = 0; i < points.size(); ++i) {
    absl::StatusOr<std::string> payload = CanonicalPayload(batch.payloads(static_cast<int>(i)));
    if (!payload.ok()) {
      return BlameField(
          Prefixed(absl::StrCat("point ", i, " (id ", points[i].id.ToString(), "): "),
                   payload.status()),
          absl::StrCat("batch.payloads[", i, "]"));
    }
    points[i].payload_json = *std::move(payload);
  }
  return points;
}

// Fills `vector` or `vectors` of a message that has both.
template <typename Message>
void VectorsToProto(const base::CollectionSchema& schema, std::vector<db::FieldVector>&& vectors,
                    Message* out) {
  for (db::FieldVector& vector : vectors) {
    const auto field = std::find_if(schema.vectors.begin(), schema.vectors.end(),
                                    [&](const auto& one) { return one.name == vector.field; });
    v1::Vector* added =
        vector.field.empty() ? out->mutable_vector() : &(*out->mutable_vectors())[vector.field];
    if (field != schema.vectors.end()) added->set_type(ToProto(field->type));
    added->set_data(std::move(vector.bytes));
  }
}

template <typename Message>
std::vector<db::FieldVector> VectorsFromProto(const Message& message) {
  std::vector<db::FieldVector> vectors;
  if (message.has_vector()) vectors.push_back({.field = "", .bytes = message.vector().data()});
  for (const auto& [name, vector] : message.vectors()) {
    vectors.push_back({.field = name, .bytes = vector.data()});
  }
  std::sort(vectors.begin(), vectors.end(),
            [](const auto& a, const auto& b) { return a.field < b.field; });
  return vectors;
}

}  // namespace

absl::StatusOr<db::Ack> FromProto(v1::Ack ack, const std::string& field) {
  switch (ack) {
    case v1::ACK_WAL:
      return db::Ack::kWal;
    case v1::ACK_MEMORY:
      return db::Ack::kMemory;
    default:
      return InvalidField(field, absl::StrCat("is ", static_cast<int>(ack), ", must be 0 or 1"));
  }
}

v1::Ack ToProto(db::Ack ack) {
  return ack == db::Ack::kMemory ? v1::ACK_MEMORY : v1::ACK_WAL;
}

absl::StatusOr<std::vector<db::Point>> PointsFromProto(const base::CollectionSchema& schema,
                                                       const RepeatedPtrField<v1::Point>& points,
                                                       const v1::PointBatch& batch) {
  const uint64_t batch_bytes = batch.ByteSizeLong();
  if (points.empty() && batch_bytes == 0) return std::vector<db::Point>();
  if (points.empty()) return PointsFromBatch(schema, batch);
  if (batch_bytes > 0) return InvalidField("points", "given together with a batch");
  if (static_cast<size_t>(points.size()) > db::kBatchPointsMax) {
    return InvalidField("points",
                        absl::StrCat(points.size(), " points, at most ", db::kBatchPointsMax));
  }
  std::vector<db::Point> out;
  out.reserve(static_cast<size_t>(points.size()));
  for (int i = 0; i < points.size(); ++i) {
    absl::StatusOr<db::Point> point = PointFromProto(schema, points[i]);
    if (!point.ok()) {
      const absl::StatusOr<base::PointId> id = FromProto(points[i].id());
      const std::string where = absl::StrCat("points[", i, "]");
      if (!id.ok()) return InvalidField(where, base::StdSv(point.status().message()));
      return BlameField(Prefixed(absl::StrCat("point ", i, " (id ", id->ToString(), "): "),
                                 point.status()),
                        where);
    }
    out.push_back(*std::move(point));
  }
  return out;
}

size_t ToBatch(const base::CollectionSchema& schema, std::span<const db::Point> points,
               size_t bytes_max, v1::PointBatch* out) {
  const bool numbers = std::all_of(points.begin(), points.end(),
                                   [](const auto& point) { return point.id.number() != nullptr; });
  const bool payloads = std::any_of(points.begin(), points.end(),
                                    [](const auto& point) {
                                      return !point.payload.is_null() || !point.payload_json.empty();
                                    });
  size_t row_bytes = 0;
  std::vector<std::string*> columns;
  for (const base::VectorFieldSchema& field : schema.vectors) {
    v1::VectorColumn* column = out->add_vectors();
    column->set_field(field.name);
    column->set_type(ToProto(field.type));
    columns.push_back(column->mutable_data());
    row_bytes += base::VectorBytes(field);
  }
  size_t bytes = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    const db::Point& point = points[i];
    std::string payload = point.payload.is_null() ? point.payload_json
                                                  : ToPayloadText(point.payload);
    bytes += row_bytes + payload.size();
    if (i > 0 && bytes > bytes_max) return i;
    if (payloads) out->add_payloads(std::move(payload));
    if (numbers) {
      out->mutable_ids()->add_num(*point.id.number());
    } else {
      ToProto(point.id, out->mutable_ids()->add_any());
    }
    for (const db::FieldVector& vector : point.vectors) {
      for (size_t field = 0; field < columns.size(); ++field) {
        if (schema.vectors[field].name == vector.field) *columns[field] += vector.bytes;
      }
    }
  }
  return points.size();
}

void ToProto(const base::CollectionSchema& schema, db::StoredPoint&& point,
             v1::RetrievedPoint* out) {
  ToProto(point.id, out->mutable_id());
  out->set_version(point.version);
  VectorsToProto(schema, std::move(point.vectors), out);
  out->set_payload(point.payload.is_null() ? std::move(point.payload_json)
                                           : ToPayloadText(point.payload));
}

absl::StatusOr<db::StoredPoint> FromProto(const v1::RetrievedPoint& point, bool payload_as_text) {
  db::StoredPoint out;
  TESSERA_ASSIGN_OR_RETURN(out.id, FromProto(point.id()));
  out.version = point.version();
  out.vectors = VectorsFromProto(point);
  if (payload_as_text) {
    out.payload_json = point.payload();
  } else {
    TESSERA_ASSIGN_OR_RETURN(out.payload, FromPayloadText(point.payload()));
  }
  return out;
}

absl::StatusOr<std::vector<float>> QueryFromProto(const base::VectorFieldSchema& field,
                                                  const v1::Vector& vector) {
  if (vector.values_size() > 0 && !vector.data().empty()) {
    return InvalidField("vector", "has both values and data");
  }
  std::vector<float> query(vector.values().begin(), vector.values().end());
  if (query.empty()) {
    absl::StatusOr<base::ElementType> type = FromProto(vector.type(), field.type);
    if (!type.ok()) return BlameField(type.status(), "vector.type");
    if (vector.data().size() % base::ElementBytes(*type) != 0) {
      return InvalidField("vector.data",
                          absl::StrCat(vector.data().size(), " bytes are no whole elements of ",
                                       base::Sv(base::ToString(*type))));
    }
    query = ToFloats(vector.data(), *type);
  }
  if (query.size() != field.dim) {
    return InvalidField("vector", absl::StrCat("query has dimension ", query.size(), ", field \"",
                                               field.name, "\" has ", field.dim));
  }
  return query;
}

absl::Status CheckBatch(const base::VectorFieldSchema& field, size_t bytes,
                        base::ElementType type) {
  const size_t row_bytes = field.dim * base::ElementBytes(type);
  const size_t count = bytes / row_bytes;
  if (count == 0 || count * row_bytes != bytes) {
    return InvalidField(
        "queries.data",
        absl::StrCat("has ", bytes, " bytes, must be a multiple of ", row_bytes, " (dimension ",
                     field.dim, " of ", base::Sv(base::ToString(type)), ") and not 0"));
  }
  if (count > kBatchQueriesMax) {
    return InvalidField("queries", absl::StrCat("are ", count, ", at most ", kBatchQueriesMax));
  }
  return absl::OkStatus();
}

void ToProto(const base::CollectionSchema& schema, db::SearchResult&& result,
             v1::SearchResponse* out) {
  for (db::Hit& hit : result.hits) ToProto(schema, std::move(hit), out->add_result());
  RestToProto(result, out);
}

void ToProto(const base::CollectionSchema& schema, db::Hit&& hit, v1::ScoredPoint* out) {
  ToProto(hit.id, out->mutable_id());
  out->set_score(hit.score);
  out->set_distance(hit.distance);
  out->set_version(hit.version);
  VectorsToProto(schema, std::move(hit.vectors), out);
  out->set_payload(hit.payload.is_null() ? std::move(hit.payload_json)
                                         : ToPayloadText(hit.payload));
}

void RestToProto(const db::SearchResult& result, v1::SearchResponse* out) {
  ToProto(result.stats, out->mutable_usage());
  out->mutable_warnings()->Add(result.warnings.begin(), result.warnings.end());
  if (result.explain.has_value()) ToProto(*result.explain, out->mutable_explain());
}

void ToProto(const db::SearchStats& stats, v1::SearchUsage* out) {
  out->set_estimated_recall(stats.estimated_recall);
  out->set_lists_probed(stats.lists_probed);
  out->set_codes_scanned(stats.codes_scanned);
  out->set_survivors(stats.survivors);
  out->set_reranked(stats.reranked);
  out->set_bytes_read(stats.bytes_read);
}

absl::StatusOr<db::SearchResult> FromProto(const v1::SearchResponse& response) {
  db::SearchResult result;
  result.hits.reserve(static_cast<size_t>(response.result_size()));
  for (const v1::ScoredPoint& point : response.result()) {
    db::Hit& hit = result.hits.emplace_back();
    TESSERA_ASSIGN_OR_RETURN(hit.id, FromProto(point.id()));
    hit.score = point.score();
    hit.distance = point.distance();
    hit.version = point.version();
    hit.vectors = VectorsFromProto(point);
    TESSERA_ASSIGN_OR_RETURN(hit.payload, FromPayloadText(point.payload()));
  }
  const v1::SearchUsage& usage = response.usage();
  result.stats = {.estimated_recall = usage.estimated_recall(),
                  .lists_probed = usage.lists_probed(),
                  .codes_scanned = usage.codes_scanned(),
                  .survivors = usage.survivors(),
                  .reranked = usage.reranked(),
                  .bytes_read = usage.bytes_read()};
  result.warnings.assign(response.warnings().begin(), response.warnings().end());
  if (response.has_explain()) result.explain = FromProto(response.explain());
  result.seconds = response.time();
  return result;
}

}  // namespace tessera::api
