#include "api/cli/json_line.h"

#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"

#include "api/formats/element_convert.h"
#include "base/strings.h"
#include "base/value.h"

namespace tessera::api {
namespace {

template <typename T>
std::string ShortestText(T value) {
  if (!std::isfinite(value)) return "null";
  char text[64];
  const std::to_chars_result end = std::to_chars(text, text + sizeof(text), value);
  return {text, end.ptr};
}

}  // namespace

std::string JsonText(std::string_view text) {
  return base::Value(std::string(text)).ToJson();
}

std::string JsonId(const base::PointId& id) {
  return id.number() != nullptr ? absl::StrCat(*id.number()) : JsonText(id.ToString());
}

std::string JsonVectors(const base::CollectionSchema& schema,
                        const std::vector<db::FieldVector>& vectors) {
  JsonLine line;
  for (const db::FieldVector& vector : vectors) {
    for (const base::VectorFieldSchema& field : schema.vectors) {
      if (field.name != vector.field) continue;
      std::string elements;
      for (const float value : ToFloats(vector.bytes, field.type)) {
        absl::StrAppend(&elements, elements.empty() ? "" : ",", ShortestText(value));
      }
      line.Json(field.name, absl::StrCat("[", elements, "]"));
    }
  }
  return line.ToString();
}

JsonLine& JsonLine::Json(std::string_view key, std::string_view json) {
  absl::StrAppend(&members_, members_.empty() ? "" : ",", JsonText(key), ":", base::Sv(json));
  return *this;
}

JsonLine& JsonLine::Text(std::string_view key, std::string_view value) {
  return Json(key, JsonText(value));
}

JsonLine& JsonLine::Number(std::string_view key, uint64_t value) {
  return Json(key, absl::StrCat(value));
}

JsonLine& JsonLine::Number(std::string_view key, double value) {
  return Json(key, ShortestText(value));
}

JsonLine& JsonLine::Number(std::string_view key, float value) {
  return Json(key, ShortestText(value));
}

JsonLine& JsonLine::Bool(std::string_view key, bool value) {
  return Json(key, value ? "true" : "false");
}

JsonLine& JsonLine::Id(std::string_view key, const base::PointId& id) {
  return Json(key, JsonId(id));
}

}  // namespace tessera::api
