#include "query/filter/evaluate.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include "query/filter/datetime.h"
#include "query/filter/numbers.h"

namespace tessera::query {
namespace {

constexpr double kEarthRadiusMeters = 6'371'008.8;

const base::Value* Find(const base::Value& payload, const FieldPath& path) {
  const base::Value* at = &payload;
  for (const std::string& name : path) {
    if (at->object() == nullptr) return nullptr;
    const auto found = at->object()->find(name);
    if (found == at->object()->end()) return nullptr;
    at = &found->second;
  }
  return at;
}

// Whether the test holds for the value at the path, or for one of the list there.
template <typename Test>
bool AnyValue(const base::Value& payload, const FieldPath& path, const Test& test) {
  const base::Value* at = Find(payload, path);
  if (at == nullptr) return false;
  if (at->list() == nullptr) return test(*at);
  return std::any_of(at->list()->begin(), at->list()->end(), test);
}

// The order of a value and a constant; nothing when their types differ.
std::optional<std::strong_ordering> Order(const base::Value& value, const Constant& constant) {
  if (const bool* boolean = std::get_if<bool>(&constant)) {
    if (value.boolean() == nullptr) return std::nullopt;
    return *value.boolean() <=> *boolean;
  }
  if (const std::string* text = std::get_if<std::string>(&constant)) {
    if (value.string() == nullptr) return std::nullopt;
    return value.string()->compare(*text) <=> 0;
  }
  if (const Datetime* datetime = std::get_if<Datetime>(&constant)) {
    if (value.string() == nullptr) return std::nullopt;
    const std::optional<Datetime> parsed = ParseDatetime(*value.string());
    if (!parsed.has_value()) return std::nullopt;
    return *parsed <=> *datetime;
  }
  Number number;
  if (value.integer() != nullptr) {
    number = *value.integer();
  } else if (value.number() != nullptr && !std::isnan(*value.number())) {
    number = *value.number();
  } else {
    return std::nullopt;
  }
  const int64_t* integer = std::get_if<int64_t>(&constant);
  return CompareNumbers(number,
                        integer != nullptr ? Number(*integer) : Number(std::get<double>(constant)));
}

// Whether a constant of that type equals the value. Pre: the value has an order with such
// constants.
bool Holds(const std::vector<Constant>& constants, ConstantType type, const base::Value& value) {
  const auto found =
      std::partition_point(constants.begin(), constants.end(), [&](const Constant& constant) {
        const ConstantType other = TypeOf(constant);
        return other != type ? other < type : *Order(value, constant) > 0;
      });
  return found != constants.end() && TypeOf(*found) == type && *Order(value, *found) == 0;
}

bool IsOneOf(const base::Value& value, const std::vector<Constant>& constants) {
  if (value.boolean() != nullptr) return Holds(constants, ConstantType::kBool, value);
  if (value.integer() != nullptr || value.number() != nullptr) {
    return Holds(constants, ConstantType::kNumber, value);
  }
  if (value.string() == nullptr) return false;
  if (Holds(constants, ConstantType::kString, value)) return true;
  return !constants.empty() && TypeOf(constants.back()) == ConstantType::kDatetime &&
         ParseDatetime(*value.string()).has_value() &&
         Holds(constants, ConstantType::kDatetime, value);
}

bool Within(const base::Value& value, const Range& range) {
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

struct GeoPoint {
  double lat = 0;
  double lon = 0;
};

std::optional<double> Coordinate(const base::Value& value, std::string_view name, double most) {
  const auto found = value.object()->find(name);
  if (found == value.object()->end()) return std::nullopt;
  double number = 0;
  if (found->second.number() != nullptr) {
    number = *found->second.number();
  } else if (found->second.integer() != nullptr) {
    number = static_cast<double>(*found->second.integer());
  } else {
    return std::nullopt;
  }
  if (!(std::abs(number) <= most)) return std::nullopt;
  return number;
}

std::optional<GeoPoint> ToGeoPoint(const base::Value& value) {
  if (value.object() == nullptr) return std::nullopt;
  const std::optional<double> lat = Coordinate(value, "lat", 90);
  const std::optional<double> lon = Coordinate(value, "lon", 180);
  if (!lat.has_value() || !lon.has_value()) return std::nullopt;
  return GeoPoint{*lat, *lon};
}

bool Within(const GeoPoint& point, const GeoBox& box) {
  if (point.lat > box.top_lat || point.lat < box.bottom_lat) return false;
  if (box.left_lon <= box.right_lon) {
    return point.lon >= box.left_lon && point.lon <= box.right_lon;
  }
  return point.lon >= box.left_lon || point.lon <= box.right_lon;
}

// The haversine form, which is exact for near points.
bool Within(const GeoPoint& point, const GeoRadius& circle) {
  constexpr double kRadians = std::numbers::pi / 180;
  const double lat = std::sin((point.lat - circle.lat) * kRadians / 2);
  const double lon = std::sin((point.lon - circle.lon) * kRadians / 2);
  const double h =
      lat * lat + std::cos(point.lat * kRadians) * std::cos(circle.lat * kRadians) * lon * lon;
  return 2 * kEarthRadiusMeters * std::asin(std::sqrt(std::min(1.0, h))) <= circle.meters;
}

class Evaluator {
 public:
  Evaluator(const base::PointId& id, const base::Value& payload) : id_(id), payload_(payload) {}

  bool operator()(const Filter& filter) const { return std::visit(*this, filter.node); }

  bool operator()(const AtLeast& node) const {
    uint32_t held = 0;
    for (size_t i = 0; i < node.filters.size() && held < node.least; ++i) {
      if (held + (node.filters.size() - i) < node.least) return false;
      if ((*this)(node.filters[i])) ++held;
    }
    return held >= node.least;
  }
  bool operator()(const Not& node) const { return !(*this)(node.filter[0]); }
  bool operator()(const In& node) const {
    if (!node.all) {
      return AnyValue(payload_, node.path,
                      [&](const base::Value& value) { return IsOneOf(value, node.constants); });
    }
    return std::all_of(node.constants.begin(), node.constants.end(), [&](const Constant& constant) {
      return AnyValue(payload_, node.path, [&](const base::Value& value) {
        const auto order = Order(value, constant);
        return order.has_value() && *order == 0;
      });
    });
  }
  bool operator()(const Range& node) const {
    return AnyValue(payload_, node.path,
                    [&](const base::Value& value) { return Within(value, node); });
  }
  bool operator()(const Exists& node) const { return Find(payload_, node.path) != nullptr; }
  bool operator()(const IsNull& node) const {
    return AnyValue(payload_, node.path, [](const base::Value& value) { return value.is_null(); });
  }
  bool operator()(const Prefix& node) const {
    return AnyValue(payload_, node.path, [&](const base::Value& value) {
      return value.string() != nullptr && value.string()->starts_with(node.prefix);
    });
  }
  bool operator()(const GeoBox& node) const { return AnyGeo(node); }
  bool operator()(const GeoRadius& node) const { return AnyGeo(node); }
  bool operator()(const HasId& node) const {
    return std::binary_search(node.ids.begin(), node.ids.end(), id_);
  }

 private:
  template <typename Shape>
  bool AnyGeo(const Shape& shape) const {
    return AnyValue(payload_, shape.path, [&](const base::Value& value) {
      const std::optional<GeoPoint> point = ToGeoPoint(value);
      return point.has_value() && Within(*point, shape);
    });
  }

  const base::PointId& id_;
  const base::Value& payload_;
};

}  // namespace

bool Matches(const Filter& filter, const base::PointId& id, const base::Value& payload) {
  return Evaluator(id, payload)(filter);
}

}  // namespace tessera::query
