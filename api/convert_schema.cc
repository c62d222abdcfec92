// Schemas, ids, payloads and statistics.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "api/convert.h"
#include "api/status.h"
#include "base/status_macros.h"
#include "base/string_id.h"
#include "base/strings.h"

namespace tessera::api {

v1::Metric ToProto(base::Metric metric) {
  switch (metric) {
    case base::Metric::kL2:
      return v1::METRIC_L2;
    case base::Metric::kInnerProduct:
      return v1::METRIC_IP;
    case base::Metric::kCosine:
      return v1::METRIC_COSINE;
  }
  return v1::METRIC_UNSPECIFIED;
}

v1::ElementType ToProto(base::ElementType type) {
  switch (type) {
    case base::ElementType::kF32:
      return v1::ELEMENT_TYPE_F32;
    case base::ElementType::kF16:
      return v1::ELEMENT_TYPE_F16;
    case base::ElementType::kI8:
      return v1::ELEMENT_TYPE_I8;
    case base::ElementType::kU8:
      return v1::ELEMENT_TYPE_U8;
  }
  return v1::ELEMENT_TYPE_UNSPECIFIED;
}

absl::StatusOr<base::ElementType> FromProto(v1::ElementType type, base::ElementType unspecified) {
  switch (type) {
    case v1::ELEMENT_TYPE_UNSPECIFIED:
      return unspecified;
    case v1::ELEMENT_TYPE_F32:
      return base::ElementType::kF32;
    case v1::ELEMENT_TYPE_F16:
      return base::ElementType::kF16;
    case v1::ELEMENT_TYPE_I8:
      return base::ElementType::kI8;
    case v1::ELEMENT_TYPE_U8:
      return base::ElementType::kU8;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("element type is ", static_cast<int>(type), ", must be 0 .. 4"));
  }
}

namespace {

absl::StatusOr<base::Metric> MetricFromProto(v1::Metric metric) {
  switch (metric) {
    case v1::METRIC_L2:
      return base::Metric::kL2;
    case v1::METRIC_IP:
      return base::Metric::kInnerProduct;
    case v1::METRIC_COSINE:
      return base::Metric::kCosine;
    default:
      return absl::InvalidArgumentError(absl::StrCat("metric is ", static_cast<int>(metric),
                                                     ", must be 1 (l2), 2 (ip) or 3 (cosine)"));
  }
}

}  // namespace

void ToProto(const base::CollectionSchema& schema, v1::CollectionSchema* out) {
  out->set_name(schema.name);
  for (const base::VectorFieldSchema& field : schema.vectors) {
    v1::VectorField* added = out->add_vectors();
    added->set_name(field.name);
    added->set_dim(field.dim);
    added->set_metric(ToProto(field.metric));
    added->set_type(ToProto(field.type));
  }
}

absl::StatusOr<base::CollectionSchema> FromProto(const v1::CollectionSchema& schema) {
  base::CollectionSchema out;
  out.name = schema.name();
  for (int i = 0; i < schema.vectors_size(); ++i) {
    const v1::VectorField& field = schema.vectors(i);
    const std::string where = absl::StrCat("schema.vectors[", i, "].");
    const absl::StatusOr<base::Metric> metric = MetricFromProto(field.metric());
    if (!metric.ok()) return InvalidField(where + "metric", base::StdSv(metric.status().message()));
    const absl::StatusOr<base::ElementType> type = FromProto(field.type(), base::ElementType::kF32);
    if (!type.ok()) return InvalidField(where + "type", base::StdSv(type.status().message()));
    out.vectors.push_back(
        {.name = field.name(), .dim = field.dim(), .metric = *metric, .type = *type});
  }
  return out;
}

absl::StatusOr<const base::VectorFieldSchema*> FindField(const base::CollectionSchema& schema,
                                                         std::string_view name) {
  std::string names;
  for (const base::VectorFieldSchema& field : schema.vectors) {
    if (field.name == name) return &field;
    absl::StrAppend(&names, names.empty() ? "" : ", ", "\"", field.name, "\"");
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "collection ", schema.name, " has no vector field \"", base::Sv(name), "\"; it has ", names));
}

void ToProto(const base::PointId& id, v1::PointId* out) {
  if (const uint64_t* number = id.number(); number != nullptr) {
    out->set_num(*number);
  } else if (id.uuid() != nullptr) {
    out->set_uuid(id.ToString());
  } else {
    out->set_str(*id.string());
  }
}

absl::StatusOr<base::PointId> FromProto(const v1::PointId& id) {
  switch (id.kind_case()) {
    case v1::PointId::kNum:
      return base::PointId(id.num());
    case v1::PointId::kUuid: {
      absl::StatusOr<base::PointId> parsed = base::PointId::Parse(id.uuid());
      if (!parsed.ok() || parsed->uuid() == nullptr) {
        return absl::InvalidArgumentError(
            absl::StrCat("id \"", id.uuid(), "\" is not a UUID of 8-4-4-4-12 hex digits"));
      }
      return parsed;
    }
    case v1::PointId::kStr:
      return base::StringId(id.str());
    case v1::PointId::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("id is empty, must be num, uuid or str");
}

absl::StatusOr<std::vector<base::PointId>> FromProto(
    const google::protobuf::RepeatedPtrField<v1::PointId>& ids) {
  if (static_cast<size_t>(ids.size()) > db::kBatchPointsMax) {
    return InvalidField("ids", absl::StrCat(ids.size(), " ids, at most ", db::kBatchPointsMax));
  }
  std::vector<base::PointId> out;
  out.reserve(static_cast<size_t>(ids.size()));
  for (int i = 0; i < ids.size(); ++i) {
    absl::StatusOr<base::PointId> id = FromProto(ids[i]);
    if (!id.ok()) return BlameField(id.status(), absl::StrCat("ids[", i, "]"));
    out.push_back(*std::move(id));
  }
  return out;
}

std::string ToPayloadText(const base::Value& payload) {
  return payload.is_null() ? std::string() : payload.ToJson();
}

absl::StatusOr<base::Value> FromPayloadText(std::string_view text) {
  if (text.empty()) return base::Value();
  TESSERA_ASSIGN_OR_RETURN(base::Value value, base::ParseJson(text));
  if (value.object() == nullptr && !value.is_null()) {
    return absl::InvalidArgumentError("payload must be a JSON object");
  }
  return value;
}

void ToProto(const db::CollectionStats& stats, v1::DescribeCollectionResponse* out) {
  ToProto(stats.schema, out->mutable_schema());
  out->set_points(stats.points);
  for (const db::FieldStats& field : stats.fields) {
    v1::VectorFieldStats* added = out->add_fields();
    added->set_field(field.schema.name);
    added->set_lists(field.lists);
    added->set_absorbed_rows(field.absorbed_rows);
    added->set_fresh_rows(field.fresh_rows);
    added->set_memory_bytes(field.memory_bytes);
    added->set_disk_bytes(field.disk_bytes);
    added->set_default_nprobe(field.default_nprobe);
  }
}

absl::StatusOr<db::CollectionStats> FromProto(const v1::DescribeCollectionResponse& response) {
  db::CollectionStats stats;
  TESSERA_ASSIGN_OR_RETURN(stats.schema, FromProto(response.schema()));
  stats.points = response.points();
  for (const v1::VectorFieldStats& field : response.fields()) {
    TESSERA_ASSIGN_OR_RETURN(const base::VectorFieldSchema* schema,
                             FindField(stats.schema, field.field()));
    stats.fields.push_back({.schema = *schema,
                            .lists = field.lists(),
                            .absorbed_rows = field.absorbed_rows(),
                            .fresh_rows = field.fresh_rows(),
                            .memory_bytes = field.memory_bytes(),
                            .disk_bytes = field.disk_bytes(),
                            .default_nprobe = field.default_nprobe()});
  }
  return stats;
}

}  // namespace tessera::api
