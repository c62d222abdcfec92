#include "api/inputs/point_rows.h"

#include <vector>

#include "absl/strings/str_cat.h"

#include "api/formats/element_convert.h"
#include "base/status_macros.h"
#include "base/types.h"

namespace tessera::api {
namespace {

// Every element finite, and their squares' sum within bounds: what the database asks of a vector.
absl::Status CheckFinite(std::string_view elements, base::ElementType type) {
  if (base::ElementBytes(type) == 1) return absl::OkStatus();
  const std::vector<float> values = ToFloats(elements, type);
  double squared = 0;
  for (const float value : values) squared += double{value} * value;
  if (squared <= base::kNorm2Max) return absl::OkStatus();
  const size_t at = FirstNotFinite(elements, type);
  if (at < values.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("component ", at, " is ", values[at], ", must be finite"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("its squared length is ", squared, ", must be at most ", base::kNorm2Max));
}

}  // namespace

std::string FieldLabel(const base::VectorFieldSchema& field) {
  return field.name.empty() ? std::string("the default vector")
                            : absl::StrCat("vector \"", field.name, "\"");
}

absl::StatusOr<db::FieldVector> MakeFieldVector(std::string_view elements, base::ElementType from,
                                                const base::VectorFieldSchema& field) {
  TESSERA_RETURN_IF_ERROR(CheckFinite(elements, from));
  const bool whole_numbers = base::ElementBytes(field.type) == 1;
  db::FieldVector vector{.field = field.name, .bytes = {}};
  TESSERA_RETURN_IF_ERROR(ConvertElements(elements, from, field.type,
                                          whole_numbers ? Conversion::kExact : Conversion::kRound,
                                          &vector.bytes));
  return vector;
}

absl::StatusOr<base::PointId> IdOfJson(const std::string& key, const base::Value& value,
                                       bool is_large) {
  if (value.integer() != nullptr && *value.integer() >= 0) {
    return base::PointId(static_cast<uint64_t>(*value.integer()));
  }
  if (value.string() != nullptr) {
    absl::StatusOr<base::PointId> id = base::PointId::Parse(*value.string());
    if (!id.ok() || id->number() == nullptr || is_large) return id;
    return absl::InvalidArgumentError(absl::StrCat(
        "its id \"", key, "\" is the text \"", *value.string(),
        "\", which reads as a number: write it without quotes, or give the ids with --ids"));
  }
  return absl::InvalidArgumentError(absl::StrCat("its id \"", key, "\" is ", value.ToJson(),
                                                 ", must be a whole number from 0 on or a string"));
}

absl::StatusOr<size_t> CheckedPayloadBytes(const base::Value& payload) {
  const size_t bytes = payload.ToJson().size();
  if (bytes <= db::kPayloadBytesMax) return bytes;
  return absl::InvalidArgumentError(absl::StrCat("its payload is ", bytes, " bytes long, at most ",
                                                 db::kPayloadBytesMax, " are allowed"));
}

}  // namespace tessera::api
