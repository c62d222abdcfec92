// A payload value: what JSON can say, with 64-bit integers kept apart from doubles.
//
// Threads: a value type; concurrent reads allowed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace tessera::base {

inline constexpr int kValueDepthMax = 64;

class Value {
 public:
  using List = std::vector<Value>;
  using Object = std::map<std::string, Value, std::less<>>;

  Value() = default;  // null
  explicit Value(bool value) : data_(value) {}
  explicit Value(int64_t value) : data_(value) {}
  explicit Value(double value) : data_(value) {}
  explicit Value(std::string value) : data_(std::move(value)) {}
  explicit Value(List value) : data_(std::move(value)) {}
  explicit Value(Object value) : data_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
  // Null when the value is of another kind.
  const bool* boolean() const { return std::get_if<bool>(&data_); }
  const int64_t* integer() const { return std::get_if<int64_t>(&data_); }
  const double* number() const { return std::get_if<double>(&data_); }
  const std::string* string() const { return std::get_if<std::string>(&data_); }
  const List* list() const { return std::get_if<List>(&data_); }
  const Object* object() const { return std::get_if<Object>(&data_); }
  List* list() { return std::get_if<List>(&data_); }
  Object* object() { return std::get_if<Object>(&data_); }

  // Compact JSON (UTF-8, keys in byte order). A double prints the shortest text that reads back to
  // the same bits and always has '.' or 'e', so that numbers keep their kind.
  std::string ToJson() const;

  friend bool operator==(const Value&, const Value&) = default;

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, List, Object> data_;
};

// Errors: kInvalidArgument for text that is not one JSON value, is nested deeper than
// kValueDepthMax or has a number out of range. Cost: O(text).
absl::StatusOr<Value> ParseJson(std::string_view text);

// The text that ParseJson(text)->ToJson() would be, in a fraction of the memory: about 15 bytes for
// one of `text`, where a Value of many small numbers takes 60. Errors: as ParseJson.
absl::StatusOr<std::string> CanonicalJson(std::string_view text);

}  // namespace tessera::base
