#include "api/filters/filter_value.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

#include "api/filters/filter_tree.h"
#include "base/status_details.h"
#include "base/status_macros.h"

namespace tessera::api {

using base::InvalidField;

absl::StatusOr<base::Value> ScalarFromProto(const v1::Value& value, const std::string& field) {
  switch (value.kind_case()) {
    case v1::Value::kBoolean:
      return base::Value(value.boolean());
    case v1::Value::kInteger:
      return base::Value(value.integer());
    case v1::Value::kNumber:
      if (std::isfinite(value.number())) return base::Value(value.number());
      return InvalidField(field, absl::StrCat("is ", value.number(), ", must be finite"));
    case v1::Value::kText:
      return base::Value(value.text());
    case v1::Value::kDatetime:
      return InvalidField(field, "is a datetime, must be a text here; write datetime($name)");
    case v1::Value::kList:
      return InvalidField(field, "is a list, must be a boolean, number or text");
    case v1::Value::KIND_NOT_SET:
      break;
  }
  return InvalidField(field, "has no value; for null ask is_null");
}

absl::Status CheckConstants(int count, const std::string& field) {
  if (static_cast<size_t>(count) <= kFilterConstantsMax) return absl::OkStatus();
  return InvalidField(field,
                      absl::StrCat("has ", count, " constants, at most ", kFilterConstantsMax));
}

absl::Status ListItemFromProto(const v1::ValueList& list, int i, const std::string& field,
                               base::Value* out) {
  absl::StatusOr<base::Value> scalar = ScalarFromProto(list.values(i), field);
  if (!scalar.ok()) {
    return ScalarFromProto(list.values(i), absl::StrCat(field, "[", i, "]")).status();
  }
  *out = *std::move(scalar);
  return absl::OkStatus();
}

absl::StatusOr<base::Value> ParameterFromProto(const v1::Value& value, const std::string& field) {
  if (!value.has_list()) return ScalarFromProto(value, field);
  TESSERA_RETURN_IF_ERROR(CheckConstants(value.list().values_size(), field));
  const std::string items = field + ".list.values";
  base::Value::List list(static_cast<size_t>(value.list().values_size()));
  for (int i = 0; i < value.list().values_size(); ++i) {
    TESSERA_RETURN_IF_ERROR(
        ListItemFromProto(value.list(), i, items, &list[static_cast<size_t>(i)]));
  }
  return base::Value(std::move(list));
}

void ToProto(const base::Value& value, v1::Value* out) {
  if (value.boolean() != nullptr) out->set_boolean(*value.boolean());
  if (value.integer() != nullptr) out->set_integer(*value.integer());
  if (value.number() != nullptr) out->set_number(*value.number());
  if (value.string() != nullptr) out->set_text(*value.string());
  if (value.list() == nullptr) return;
  v1::ValueList* list = out->mutable_list();
  for (const base::Value& item : *value.list()) ToProto(item, list->add_values());
}

// Looser than the engine: what it takes beyond that is refused there.
absl::Status CheckDatetime(const std::string& text, const std::string& field) {
  std::string upper = text;
  if (upper.size() > 10 && (upper[10] == 't' || upper[10] == ' ')) upper[10] = 'T';
  if (upper.ends_with('z')) upper.back() = 'Z';
  for (const char* format : {"%Y-%m-%d", "%Y-%m-%dT%H:%M:%E*S", "%Y-%m-%dT%H:%M:%E*S%Ez"}) {
    absl::Time time;
    if (absl::ParseTime(format, upper, &time, nullptr)) return absl::OkStatus();
  }
  return InvalidField(field, absl::StrCat("is \"", text,
                                          "\", must be a datetime of RFC 3339, as "
                                          "2024-01-31T12:00:00Z"));
}

}  // namespace tessera::api
