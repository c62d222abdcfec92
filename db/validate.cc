#include "db/validate.h"

#include <cmath>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

#include "base/elements.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::db {
namespace {

using base::Sv;

std::string FieldLabel(std::string_view name) {
  return name.empty() ? std::string("the default vector")
                      : absl::StrCat("vector \"", Sv(name), "\"");
}

absl::Status CheckComponents(const base::VectorFieldSchema& field, std::span<const float> values) {
  double squared = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      return absl::InvalidArgumentError(absl::StrCat(FieldLabel(field.name), " has component ", i,
                                                     " = ", values[i], ", must be finite"));
    }
    squared += double{values[i]} * values[i];
  }
  if (squared > base::kNorm2Max) {
    return absl::InvalidArgumentError(absl::StrCat(
        FieldLabel(field.name), " has a squared length of ", squared, ", must be at most ",
        base::kNorm2Max, " so that distances are within the range of f32"));
  }
  return absl::OkStatus();
}

absl::Status ValidatePoint(const base::CollectionSchema& schema, Point* point) {
  if (point->vectors.size() > schema.vectors.size()) {
    return absl::InvalidArgumentError(absl::StrCat("has ", point->vectors.size(),
                                                   " vectors, the collection has ",
                                                   schema.vectors.size(), " vector fields"));
  }
  std::vector<FieldVector> ordered(schema.vectors.size());
  std::vector<bool> seen(schema.vectors.size());
  for (FieldVector& vector : point->vectors) {
    TESSERA_ASSIGN_OR_RETURN(const size_t field, FindField(schema, vector.field));
    if (seen[field]) {
      return absl::InvalidArgumentError(absl::StrCat("has ", FieldLabel(vector.field), " twice"));
    }
    seen[field] = true;
    TESSERA_RETURN_IF_ERROR(ValidateVector(schema.vectors[field], vector.bytes));
    ordered[field] = std::move(vector);
  }
  for (size_t field = 0; field < seen.size(); ++field) {
    if (!seen[field]) {
      return absl::InvalidArgumentError(
          absl::StrCat("lacks ", FieldLabel(schema.vectors[field].name)));
    }
  }
  point->vectors = std::move(ordered);
  if (!point->payload.is_null() && point->payload.object() == nullptr) {
    return absl::InvalidArgumentError("has a payload that is not a JSON object");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateVector(const base::VectorFieldSchema& field, std::string_view bytes) {
  const size_t element = base::ElementBytes(field.type);
  if (bytes.size() != field.dim * element) {
    const std::string actual = bytes.size() % element == 0
                                   ? absl::StrCat(bytes.size() / element, " components")
                                   : absl::StrCat(bytes.size(), " bytes");
    return absl::InvalidArgumentError(
        absl::StrCat(FieldLabel(field.name), " has ", actual, ", the collection has ", field.dim,
                     " components of type ", Sv(base::ToString(field.type))));
  }
  if (element == 1) return absl::OkStatus();
  std::vector<float> values(field.dim);
  base::DecodeElements(field.type, bytes, values);
  return CheckComponents(field, values);
}

absl::Status ValidateQuery(const base::VectorFieldSchema& field, std::span<const float> query) {
  if (query.size() != field.dim) {
    return absl::InvalidArgumentError(absl::StrCat("the query has ", query.size(), " components, ",
                                                   FieldLabel(field.name),
                                                   " of the collection has ", field.dim));
  }
  return CheckComponents(field, query);
}

absl::StatusOr<size_t> FindField(const base::CollectionSchema& schema, std::string_view name) {
  for (size_t i = 0; i < schema.vectors.size(); ++i) {
    if (schema.vectors[i].name == name) return i;
  }
  std::string known;
  for (const base::VectorFieldSchema& field : schema.vectors) {
    absl::StrAppend(&known, known.empty() ? "" : ", ", "\"", field.name, "\"");
  }
  return absl::InvalidArgumentError(absl::StrCat("there is no vector field \"", Sv(name),
                                                 "\" in collection \"", schema.name, "\"; it has ",
                                                 known));
}

absl::Status ValidatePoints(const base::CollectionSchema& schema, RepeatedIds repeated_ids,
                            std::vector<Point>* points) {
  if (points->size() > kBatchPointsMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the batch has ", points->size(), " points, at most ", kBatchPointsMax, " are allowed"));
  }
  absl::flat_hash_set<base::PointId> ids;
  if (repeated_ids == RepeatedIds::kRefused) ids.reserve(points->size());
  for (size_t i = 0; i < points->size(); ++i) {
    Point& point = (*points)[i];
    const std::string* text = point.id.string();
    if (text != nullptr && (text->empty() || text->size() > base::kPointIdStringBytesMax)) {
      return absl::InvalidArgumentError(absl::StrCat("point ", i, " has an id of ", text->size(),
                                                     " bytes, must be 1 .. ",
                                                     base::kPointIdStringBytesMax));
    }
    if (repeated_ids == RepeatedIds::kRefused && !ids.insert(point.id).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "id ", point.id.ToString(), " is twice in the batch (again at point ", i, ")"));
    }
    if (absl::Status status = ValidatePoint(schema, &point); !status.ok()) {
      return absl::Status(status.code(), absl::StrCat("point ", i, " (id ", point.id.ToString(),
                                                      "): ", status.message()));
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateSearch(const base::CollectionSchema& schema, std::span<const float> query,
                            const SearchParams& params) {
  TESSERA_ASSIGN_OR_RETURN(const size_t field, FindField(schema, params.field));
  TESSERA_RETURN_IF_ERROR(ValidateQuery(schema.vectors[field], query));
  if (params.limit == 0 || params.limit > base::kLimitMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("limit is ", params.limit, ", must be 1 .. ", base::kLimitMax));
  }
  if (!(params.recall_target >= 0 && params.recall_target < 1)) {
    return absl::InvalidArgumentError(absl::StrCat("recall_target is ", params.recall_target,
                                                   ", must be over 0 and under 1 (or exact)"));
  }
  if (!(params.oversampling == 0 || params.oversampling >= 1) ||
      !std::isfinite(params.oversampling)) {
    return absl::InvalidArgumentError(
        absl::StrCat("oversampling is ", params.oversampling, ", must be at least 1"));
  }
  if (params.score_threshold.has_value() && std::isnan(*params.score_threshold)) {
    return absl::InvalidArgumentError("score_threshold is NaN, must be a number");
  }
  return absl::OkStatus();
}

}  // namespace tessera::db
