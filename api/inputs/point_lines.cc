// Points whose parts are together on one line of JSON, as `tessera export` writes them and as
// embedding pipelines leave them.
#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "api/formats/file_kind.h"
#include "api/formats/line_reader.h"
#include "api/inputs/point_rows.h"
#include "base/files/json_file.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::api {
namespace {

// Sixteen vectors of 16,384 components of up to 24 characters and a payload of the largest size.
constexpr size_t kPointLineBytesMax = size_t{16} << 20;

constexpr std::string_view kVectorKeys[] = {"vector", "embedding"};

using Object = base::Value::Object;

// The components as f32, a wider number as the nearest.
absl::StatusOr<std::string> Components(const base::Value& value) {
  if (value.list() == nullptr) return absl::InvalidArgumentError("is no array of numbers");
  std::string bytes;
  bytes.reserve(value.list()->size() * sizeof(float));
  for (const base::Value& one : *value.list()) {
    float number = 0;
    if (one.number() != nullptr) {
      number = static_cast<float>(*one.number());
    } else if (one.integer() != nullptr) {
      number = static_cast<float>(*one.integer());
    } else {
      return absl::InvalidArgumentError(absl::StrCat("component ", bytes.size() / sizeof(float),
                                                     " is ", one.ToJson().substr(0, 100),
                                                     ", must be a number"));
    }
    bytes.append(reinterpret_cast<const char*>(&number), sizeof(number));
  }
  return bytes;
}

class PointLines : public PointRows {
 public:
  PointLines(const base::CollectionSchema& schema, const PointSourceOptions& options,
             std::unique_ptr<ByteSource> source)
      : schema_(schema),
        field_(options.points_field),
        id_key_(options.id_field.empty() ? "id" : options.id_field),
        id_needed_(!options.id_field.empty()),
        lines_(std::move(source), kPointLineBytesMax) {}

  absl::StatusOr<bool> Next(PointRow* row) override {
    TESSERA_ASSIGN_OR_RETURN(const bool more, lines_.Next(&line_));
    if (!more) return false;
    row->status = Read(row);
    if (!row->status.ok()) {
      row->status = absl::InvalidArgumentError(
          absl::StrCat(lines_.name(), ": line ", lines_.line_number(), " (row ", next_row_,
                       "): ", row->status.message()));
    }
    ++next_row_;
    return true;
  }

  std::optional<uint64_t> rows() const override { return std::nullopt; }

 private:
  // Errors: kInvalidArgument: the line is no point.
  absl::Status Read(PointRow* row) {
    TESSERA_RETURN_IF_ERROR(CheckJsonLine(line_));
    TESSERA_ASSIGN_OR_RETURN(base::Value value, base::ParseJsonKeepingLarge(line_, &large_keys_));
    if (value.object() == nullptr) return absl::InvalidArgumentError("is no JSON object");
    Object& object = *value.object();
    TESSERA_RETURN_IF_ERROR(ReadId(object, &row->point));
    TESSERA_RETURN_IF_ERROR(ReadVectors(&object, &row->point));
    TESSERA_RETURN_IF_ERROR(ReadPayload(std::move(object), &row->point));
    TESSERA_ASSIGN_OR_RETURN(row->payload_bytes, CheckedPayloadBytes(row->point.payload));
    return absl::OkStatus();
  }

  // The id stays in `object` when it is a key of the payload: --id-field, and no "payload" beside.
  absl::Status ReadId(Object& object, db::Point* point) {
    const auto found = object.find(id_key_);
    if (found == object.end()) {
      if (id_needed_) {
        return absl::InvalidArgumentError(absl::StrCat("has no \"", id_key_, "\" to be its id"));
      }
      point->id = base::PointId(next_row_);
      return absl::OkStatus();
    }
    TESSERA_ASSIGN_OR_RETURN(point->id,
                             IdOfJson(id_key_, found->second, large_keys_.contains(id_key_)));
    if (!id_needed_ || object.contains("payload")) object.erase(found);
    return absl::OkStatus();
  }

  absl::Status ReadVectors(Object* object, db::Point* point) const {
    if (const auto all = object->find("vectors"); all != object->end()) {
      if (all->second.object() == nullptr) {
        return absl::InvalidArgumentError("its \"vectors\" is no object of fields");
      }
      for (const auto& [name, value] : *all->second.object()) {
        TESSERA_RETURN_IF_ERROR(
            AddVector(name, absl::StrCat("\"vectors\".\"", name, "\""), value, point));
      }
      object->erase(all);
    }
    for (const std::string_view key : kVectorKeys) {
      const auto found = object->find(key);
      if (found == object->end()) continue;
      TESSERA_RETURN_IF_ERROR(
          AddVector(field_, absl::StrCat("\"", base::Sv(key), "\""), found->second, point));
      object->erase(found);
    }
    std::vector<db::FieldVector> given = std::exchange(point->vectors, {});
    for (const base::VectorFieldSchema& field : schema_.vectors) {
      const auto found = FindVector(given, field.name);
      if (found == given.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("has nothing for ", FieldLabel(field), " of collection ", schema_.name,
                         "; it is \"vector\", \"embedding\" or a member of \"vectors\""));
      }
      point->vectors.push_back(std::move(*found));
    }
    return absl::OkStatus();
  }

  static std::vector<db::FieldVector>::iterator FindVector(std::vector<db::FieldVector>& vectors,
                                                           const std::string& field) {
    return std::find_if(vectors.begin(), vectors.end(),
                        [&](const db::FieldVector& one) { return one.field == field; });
  }

  absl::Status AddVector(const std::string& name, const std::string& where,
                         const base::Value& value, db::Point* point) const {
    const auto field = std::find_if(schema_.vectors.begin(), schema_.vectors.end(),
                                    [&](const auto& one) { return one.name == name; });
    if (field == schema_.vectors.end()) {
      return absl::InvalidArgumentError(absl::StrCat("its ", where, " is of vector field \"", name,
                                                     "\", which collection ", schema_.name,
                                                     " has not"));
    }
    if (FindVector(point->vectors, name) != point->vectors.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("its ", where, " is a second one for ", FieldLabel(*field)));
    }
    const absl::StatusOr<std::string> components = Components(value);
    if (!components.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("its ", where, " ", components.status().message()));
    }
    if (components->size() != field->dim * sizeof(float)) {
      return absl::InvalidArgumentError(
          absl::StrCat("its ", where, " has ", components->size() / sizeof(float), " components, ",
                       FieldLabel(*field), " of collection ", schema_.name, " has ", field->dim));
    }
    absl::StatusOr<db::FieldVector> vector =
        MakeFieldVector(*components, base::ElementType::kF32, *field);
    if (!vector.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("its ", where, ": ", vector.status().message()));
    }
    point->vectors.push_back(*std::move(vector));
    return absl::OkStatus();
  }

  // What is left of the line: "payload" alone, or the payload's own keys.
  static absl::Status ReadPayload(Object object, db::Point* point) {
    const auto found = object.find("payload");
    if (found == object.end()) {
      if (!object.empty()) point->payload = base::Value(std::move(object));
      return absl::OkStatus();
    }
    if (object.size() > 1) {
      const std::string& other =
          object.begin() == found ? std::next(found)->first : object.begin()->first;
      return absl::InvalidArgumentError(
          absl::StrCat("has \"", other,
                       "\" beside \"payload\"; either \"payload\" holds all of it, or there is "
                       "none and all other keys are it"));
    }
    if (found->second.object() == nullptr && !found->second.is_null()) {
      return absl::InvalidArgumentError("its \"payload\" is no JSON object");
    }
    point->payload = std::move(found->second);
    return absl::OkStatus();
  }

  const base::CollectionSchema schema_;
  const std::string field_;
  const std::string id_key_;
  const bool id_needed_;
  LineReader lines_;
  std::string line_;
  std::set<std::string, std::less<>> large_keys_;
  uint64_t next_row_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PointRows>> OpenPointLines(const base::CollectionSchema& schema,
                                                          const PointSourceOptions& options) {
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, OpenByteSource(options.points_path));
  return NewPointLines(schema, options, std::move(source));
}

absl::StatusOr<std::unique_ptr<PointRows>> NewPointLines(const base::CollectionSchema& schema,
                                                         const PointSourceOptions& options,
                                                         std::unique_ptr<ByteSource> source) {
  TESSERA_RETURN_IF_ERROR(RefuseForeignKind(*source));
  return std::make_unique<PointLines>(schema, options, std::move(source));
}

}  // namespace tessera::api
