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

// The shortest text of a float is made for readers of floats. Readers of JSON round to a double
// first, which hits another float where the text is next to the middle of two; then all digits of
// the double are given. A zero keeps its sign only with a point.
std::string ComponentText(float value) {
  if (value == 0) return std::signbit(value) ? "-0.0" : "0";
  std::string text = ShortestText(value);
  double read = 0;
  std::from_chars(text.data(), text.data() + text.size(), read);
  return static_cast<float>(read) == value ? text : ShortestText(static_cast<double>(value));
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
        absl::StrAppend(&elements, elements.empty() ? "" : ",", ComponentText(value));
      }
      line.Json(field.name, absl::StrCat("[", elements, "]"));
    }
  }
  return line.ToString();
}

std::string JsonPayload(const db::StoredPoint& point) {
  return point.payload_json.empty() ? point.payload.ToJson() : point.payload_json;
}

std::string StoredPointJson(const base::CollectionSchema& schema, const db::StoredPoint& point,
                            bool with_vectors) {
  JsonLine line;
  line.Id("id", point.id).Number("version", point.version).Json("payload", JsonPayload(point));
  if (with_vectors) line.Json("vectors", JsonVectors(schema, point.vectors));
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
