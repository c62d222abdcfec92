#include "query/filter/field_value.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "query/filter/datetime.h"
#include "query/filter/numbers.h"

namespace tessera::query {
namespace {

constexpr double kEarthRadiusMeters = 6'371'008.8;

using Kind = base::JsonView::Kind;

std::optional<double> NumberOf(const base::Value& object, std::string_view name) {
  const auto found = object.object()->find(name);
  if (found == object.object()->end()) return std::nullopt;
  if (const double* number = found->second.number()) return *number;
  if (const int64_t* integer = found->second.integer()) return static_cast<double>(*integer);
  return std::nullopt;
}

std::optional<double> NumberOf(const base::JsonView& object, std::string_view name) {
  const std::optional<base::JsonView> found = object.Member(name);
  if (!found.has_value()) return std::nullopt;
  if (found->kind() == Kind::kNumber) return found->number();
  if (found->kind() == Kind::kInteger) return static_cast<double>(found->integer());
  return std::nullopt;
}

template <typename Object>
std::optional<FieldValue> Geo(const Object& object) {
  const std::optional<double> lat = NumberOf(object, "lat");
  if (!lat.has_value() || !(std::abs(*lat) <= 90)) return std::nullopt;
  const std::optional<double> lon = NumberOf(object, "lon");
  if (!lon.has_value() || !(std::abs(*lon) <= 180)) return std::nullopt;
  return FieldValue{.kind = FieldKind::kGeo, .number = *lat, .lon = *lon};
}

std::optional<FieldValue> Text(std::string_view text) {
  if (text.size() > kFilterStringBytesMax) return std::nullopt;
  return FieldValue{.kind = FieldKind::kString, .text = text};
}

std::optional<FieldValue> Double(double number) {
  if (std::isnan(number)) return std::nullopt;
  return NumberValue(number);
}

// Whether a constant of that type equals the value. Pre: the value has an order with such
// constants.
bool Holds(const std::vector<Constant>& constants, ConstantType type, const FieldValue& value) {
  const auto found =
      std::partition_point(constants.begin(), constants.end(), [&](const Constant& constant) {
        const ConstantType other = TypeOf(constant);
        return other != type ? other < type : *Order(value, constant) > 0;
      });
  return found != constants.end() && TypeOf(*found) == type && *Order(value, *found) == 0;
}

}  // namespace

FieldValue NumberValue(double number) {
  if (number >= -0x1p63 && number < 0x1p63 && std::trunc(number) == number) {
    return {.kind = FieldKind::kInt, .integer = static_cast<int64_t>(number)};
  }
  return {.kind = FieldKind::kDouble, .number = number};
}

std::optional<FieldValue> ToFieldValue(const base::Value& value) {
  if (const std::string* text = value.string()) return Text(*text);
  if (const int64_t* integer = value.integer()) {
    return FieldValue{.kind = FieldKind::kInt, .integer = *integer};
  }
  if (const double* number = value.number()) return Double(*number);
  if (const bool* boolean = value.boolean()) {
    return FieldValue{.kind = *boolean ? FieldKind::kTrue : FieldKind::kFalse};
  }
  if (value.is_null()) return FieldValue{};
  if (value.object() == nullptr) return std::nullopt;
  return Geo(value);
}

std::optional<FieldValue> ToFieldValue(const base::JsonView& value) {
  switch (value.kind()) {
    case Kind::kNull:
      return FieldValue{};
    case Kind::kFalse:
      return FieldValue{.kind = FieldKind::kFalse};
    case Kind::kTrue:
      return FieldValue{.kind = FieldKind::kTrue};
    case Kind::kInteger:
      return FieldValue{.kind = FieldKind::kInt, .integer = value.integer()};
    case Kind::kNumber:
      return Double(value.number());
    case Kind::kString:
      return Text(value.string());
    case Kind::kObject:
      return Geo(value);
    case Kind::kList:
      break;
  }
  return std::nullopt;
}

std::strong_ordering Compare(const FieldValue& a, const FieldValue& b) {
  if (a.kind != b.kind) return a.kind <=> b.kind;
  switch (a.kind) {
    case FieldKind::kInt:
      return a.integer <=> b.integer;
    case FieldKind::kDouble:
      return std::strong_order(a.number, b.number);
    case FieldKind::kString:
      return a.text.compare(b.text) <=> 0;
    case FieldKind::kGeo: {
      const auto order = std::strong_order(a.number, b.number);
      return order != 0 ? order : std::strong_order(a.lon, b.lon);
    }
    default:
      return std::strong_ordering::equal;
  }
}

std::optional<std::strong_ordering> Order(const FieldValue& value, const Constant& constant) {
  if (const bool* boolean = std::get_if<bool>(&constant)) {
    if (value.kind != FieldKind::kFalse && value.kind != FieldKind::kTrue) return std::nullopt;
    return (value.kind == FieldKind::kTrue) <=> *boolean;
  }
  if (const std::string* text = std::get_if<std::string>(&constant)) {
    if (value.kind != FieldKind::kString) return std::nullopt;
    return value.text.compare(*text) <=> 0;
  }
  if (const Datetime* datetime = std::get_if<Datetime>(&constant)) {
    if (value.kind != FieldKind::kString) return std::nullopt;
    const std::optional<Datetime> parsed = ParseDatetime(value.text);
    if (!parsed.has_value()) return std::nullopt;
    return *parsed <=> *datetime;
  }
  if (value.kind != FieldKind::kInt && value.kind != FieldKind::kDouble) return std::nullopt;
  const int64_t* integer = std::get_if<int64_t>(&constant);
  return CompareNumbers(
      value.kind == FieldKind::kInt ? Number(value.integer) : Number(value.number),
      integer != nullptr ? Number(*integer) : Number(std::get<double>(constant)));
}

bool IsOneOf(const FieldValue& value, const std::vector<Constant>& constants) {
  switch (value.kind) {
    case FieldKind::kFalse:
    case FieldKind::kTrue:
      return Holds(constants, ConstantType::kBool, value);
    case FieldKind::kInt:
    case FieldKind::kDouble:
      return Holds(constants, ConstantType::kNumber, value);
    case FieldKind::kString:
      if (Holds(constants, ConstantType::kString, value)) return true;
      return !constants.empty() && TypeOf(constants.back()) == ConstantType::kDatetime &&
             ParseDatetime(value.text).has_value() &&
             Holds(constants, ConstantType::kDatetime, value);
    default:
      return false;
  }
}

bool Within(const FieldValue& value, const Range& range) {
  if (range.low.has_value()) {
    const auto order = Order(value, range.low->constant);
    if (!order.has_value() || *order < 0 || (*order == 0 && !range.low->inclusive)) return false;
  }
  if (range.high.has_value()) {
    const auto order = Order(value, range.high->constant);
    if (!order.has_value() || *order > 0 || (*order == 0 && !range.high->inclusive)) return false;
  }
  return true;
}

bool Within(const FieldValue& value, const GeoBox& box) {
  if (value.kind != FieldKind::kGeo) return false;
  if (value.number > box.top_lat || value.number < box.bottom_lat) return false;
  if (box.left_lon <= box.right_lon) {
    return value.lon >= box.left_lon && value.lon <= box.right_lon;
  }
  return value.lon >= box.left_lon || value.lon <= box.right_lon;
}

// The haversine form, which is exact for near points.
bool Within(const FieldValue& value, const GeoRadius& circle) {
  if (value.kind != FieldKind::kGeo) return false;
  constexpr double kRadians = std::numbers::pi / 180;
  const double lat = std::sin((value.number - circle.lat) * kRadians / 2);
  const double lon = std::sin((value.lon - circle.lon) * kRadians / 2);
  const double h =
      lat * lat + std::cos(value.number * kRadians) * std::cos(circle.lat * kRadians) * lon * lon;
  return 2 * kEarthRadiusMeters * std::asin(std::sqrt(std::min(1.0, h))) <= circle.meters;
}

}  // namespace tessera::query
