// One JSON object on one line, keys in the order they are added.
//
// Threads: a value type.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/point_id.h"
#include "db/database.h"

namespace tessera::api {

class JsonLine {
 public:
  JsonLine& Text(std::string_view key, std::string_view value);
  JsonLine& Number(std::string_view key, uint64_t value);
  // The shortest text that reads back to the same bits; null when it is not finite.
  JsonLine& Number(std::string_view key, double value);
  JsonLine& Number(std::string_view key, float value);
  JsonLine& Bool(std::string_view key, bool value);
  // Numbers as numbers, UUIDs and strings as strings.
  JsonLine& Id(std::string_view key, const base::PointId& id);
  // `json` is JSON already.
  JsonLine& Json(std::string_view key, std::string_view json);

  // "{...}" without a line end.
  std::string ToString() const { return "{" + members_ + "}"; }

 private:
  std::string members_;
};

std::string JsonText(std::string_view text);
std::string JsonId(const base::PointId& id);

// Of a point that was read with its payload as text or as a value; null when it has none.
std::string JsonPayload(const db::StoredPoint& point);

// {"field": [1.5, ...], ...} by the schema's element types; fields it does not have are left out.
// Read as doubles and rounded to f32, the components are the same bits again.
std::string JsonVectors(const base::CollectionSchema& schema,
                        const std::vector<db::FieldVector>& vectors);

// {"id":..,"version":..,"payload":..[,"vectors":..]}
std::string StoredPointJson(const base::CollectionSchema& schema, const db::StoredPoint& point,
                            bool with_vectors);

}  // namespace tessera::api
