// One value of a path, as filters see it, and what conditions ask of one.
//
// Threads: free functions without shared state; a value views the bytes it was made of.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/files/json_view.h"
#include "base/value.h"
#include "query/filter/filter.h"

namespace tessera::query {

// Longer strings are no values: the key is there (EXISTS), nothing else holds for them.
inline constexpr size_t kFilterStringBytesMax = 256;

// In the order of Compare.
enum class FieldKind : uint8_t { kNull, kFalse, kTrue, kInt, kDouble, kString, kGeo };

// Only whole numbers outside of int64, fractions and infinities are kDouble.
struct FieldValue {
  FieldKind kind = FieldKind::kNull;
  int64_t integer = 0;
  double number = 0;  // of a geo point the latitude
  double lon = 0;
  std::string_view text = {};
};

FieldValue NumberValue(double number);  // Pre: not NaN.

// Nothing for lists, objects that are no geo point, NaN and long strings.
std::optional<FieldValue> ToFieldValue(const base::Value& value);
std::optional<FieldValue> ToFieldValue(const base::JsonView& value);

// By kind, then by value; equal only if all bits are.
std::strong_ordering Compare(const FieldValue& a, const FieldValue& b);

// The order of a value and a constant; nothing when their types differ.
std::optional<std::strong_ordering> Order(const FieldValue& value, const Constant& constant);

// Pre: constants as in In. Cost: O(log constants).
bool IsOneOf(const FieldValue& value, const std::vector<Constant>& constants);
bool Within(const FieldValue& value, const Range& range);
bool Within(const FieldValue& value, const GeoBox& box);
bool Within(const FieldValue& value, const GeoRadius& circle);

}  // namespace tessera::query
