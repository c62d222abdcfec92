#include "tests/query/filter/oracle.h"

#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace tessera::inline test {
namespace {

using base::Value;
using Values = std::vector<Value>;

const Value* At(const Value& payload, const std::string& path) {
  const Value* at = &payload;
  for (const auto part : absl::StrSplit(path, '.')) {
    if (at->object() == nullptr) return nullptr;
    const auto found = at->object()->find(std::string(part));
    if (found == at->object()->end()) return nullptr;
    at = &found->second;
  }
  return at;
}

Values ValuesAt(const Value& payload, const std::string& path) {
  const Value* at = At(payload, path);
  if (at == nullptr) return {};
  return at->list() != nullptr ? *at->list() : Values{*at};
}

bool IsNumber(const Value& value) {
  return value.integer() != nullptr || value.number() != nullptr;
}

// A long double has all 64 bits of an integer.
long double NumberOf(const Value& value) {
  return value.integer() != nullptr ? static_cast<long double>(*value.integer())
                                    : static_cast<long double>(*value.number());
}

// -1, 0, 1; 2 when the types differ.
int Order(const Value& a, const Value& b) {
  if (IsNumber(a) && IsNumber(b)) {
    return NumberOf(a) < NumberOf(b) ? -1 : NumberOf(a) > NumberOf(b) ? 1 : 0;
  }
  if (a.string() != nullptr && b.string() != nullptr) {
    return *a.string() < *b.string() ? -1 : *a.string() > *b.string() ? 1 : 0;
  }
  if (a.boolean() != nullptr && b.boolean() != nullptr) {
    return static_cast<int>(*a.boolean()) - static_cast<int>(*b.boolean());
  }
  return 2;
}

template <typename Test>
std::function<bool(const base::PointId&, const Value&)> Any(const std::string& path, Test test) {
  return [path, test](const base::PointId&, const Value& payload) {
    for (const Value& value : ValuesAt(payload, path)) {
      if (test(value)) return true;
    }
    return false;
  };
}

OracleFilter Opposite(OracleFilter filter) {
  return {absl::StrCat("NOT (", filter.text, ")"),
          [holds = std::move(filter.holds)](const base::PointId& id, const Value& payload) {
            return !holds(id, payload);
          }};
}

long double Haversine(long double lat1, long double lon1, long double lat2, long double lon2) {
  const long double r = 3.14159265358979323846L / 180;
  const long double a =
      std::pow(std::sin((lat1 - lat2) * r / 2), 2) +
      std::cos(lat1 * r) * std::cos(lat2 * r) * std::pow(std::sin((lon1 - lon2) * r / 2), 2);
  return 2 * 6371008.8L * std::atan2(std::sqrt(a), std::sqrt(1 - a));
}

}  // namespace

Value FilterOracle::DrawScalar() {
  switch (Below(9)) {
    case 0:
      return Value(Below(2) == 0);
    case 1:
      return Value(static_cast<double>(Below(5)));
    case 2:
      return Value(static_cast<double>(Below(8)) * 0.5 - 1);
    case 3:
      return Below(2) == 0 ? Value(int64_t{9007199254740993}) : Value(9007199254740992.0);
    case 4:
    case 5:
      return Value(std::string(1 + Below(2), static_cast<char>('a' + Below(3))));
    case 6:
      return Value(std::string("2024-01-0") + static_cast<char>('1' + Below(4)) + "T00:00:00Z");
    default:
      return Value(static_cast<int64_t>(Below(5)) - 1);
  }
}

Value FilterOracle::DrawField() {
  switch (Below(8)) {
    case 0:
      return Value();
    case 1: {
      Value::List list;
      for (uint64_t n = Below(4); n > 0; --n)
        list.push_back(Below(6) == 0 ? Value() : DrawScalar());
      return Value(std::move(list));
    }
    case 2:
      return Value(Value::Object{{"other", DrawScalar()}});
    default:
      return DrawScalar();
  }
}

Value FilterOracle::DrawPayload() {
  if (Below(20) == 0) return {};
  Value::Object object;
  for (const char* key : {"a", "b"}) {
    if (Below(5) > 0) object.emplace(key, DrawField());
  }
  if (Below(5) > 0) {
    object.emplace("c", Below(6) == 0 ? DrawField() : Value(Value::Object{{"d", DrawField()}}));
  }
  if (Below(3) > 0) {
    object.emplace("geo",
                   Value(Value::Object{{"lat", Value(static_cast<double>(Below(181)) - 90)},
                                       {"lon", Value(static_cast<double>(Below(361)) - 180)}}));
  }
  return Value(std::move(object));
}

std::string FilterOracle::DrawPath() {
  const char* const paths[] = {"a", "b", "c.d", "c", "nowhere"};
  return paths[Below(Below(4) == 0 ? 5 : 3)];
}

OracleFilter FilterOracle::DrawComparison(const std::string& path) {
  const Value constant = DrawScalar();
  const std::string text = constant.ToJson();
  switch (Below(7)) {
    case 0:
      return {path + " < " + text,
              Any(path, [=](const Value& v) { return Order(v, constant) == -1; })};
    case 1:
      return {text + " >= " + path, Any(path, [=](const Value& v) {
                const int order = Order(v, constant);
                return order == -1 || order == 0;
              })};
    case 2:
      return {path + " > " + text,
              Any(path, [=](const Value& v) { return Order(v, constant) == 1; })};
    case 3:
      return {path + " >= " + text, Any(path, [=](const Value& v) {
                const int order = Order(v, constant);
                return order == 1 || order == 0;
              })};
    case 4: {
      OracleFilter equal{"", Any(path, [=](const Value& v) { return Order(v, constant) == 0; })};
      OracleFilter other = Opposite(equal);
      other.text = path + " != " + text;
      return other;
    }
    default:
      return {path + " = " + text,
              Any(path, [=](const Value& v) { return Order(v, constant) == 0; })};
  }
}

OracleFilter FilterOracle::DrawSet(const std::string& path) {
  Values constants;
  std::string list;
  for (uint64_t n = Below(5); n > 0; --n) {
    constants.push_back(DrawScalar());
    absl::StrAppend(&list, list.empty() ? "" : ", ", constants.back().ToJson());
  }
  const auto any_of = [constants](const Value& value) {
    for (const Value& constant : constants) {
      if (Order(value, constant) == 0) return true;
    }
    return false;
  };
  switch (Below(4)) {
    case 0:
      return {path + " CONTAINS ANY [" + list + "]", Any(path, any_of)};
    case 1: {
      OracleFilter filter = Opposite({"", Any(path, any_of)});
      filter.text = path + (Below(2) == 0 ? " NOT IN (" : " CONTAINS NONE (") + list + ")";
      return filter;
    }
    case 2:
      return {path + " CONTAINS ALL (" + list + ")",
              [=](const base::PointId&, const Value& payload) {
                for (const Value& constant : constants) {
                  bool found = false;
                  for (const Value& value : ValuesAt(payload, path)) {
                    found = found || Order(value, constant) == 0;
                  }
                  if (!found) return false;
                }
                return true;
              }};
    default:
      return {path + " IN (" + list + ")", Any(path, any_of)};
  }
}

OracleFilter FilterOracle::DrawGeo() {
  const auto number = [](const Value& value) { return NumberOf(value); };
  const auto point = [=](const Value& payload, long double* lat, long double* lon) {
    const Value* geo_lat = At(payload, "geo.lat");
    const Value* geo_lon = At(payload, "geo.lon");
    if (geo_lat == nullptr || geo_lon == nullptr) return false;
    *lat = number(*geo_lat);
    *lon = number(*geo_lon);
    return true;
  };
  const auto lat = static_cast<int>(Below(181)) - 90;
  const auto lon = static_cast<int>(Below(361)) - 180;
  if (Below(2) == 0) {
    const double meters = static_cast<double>(Below(20'000'000)) + 0.5;
    return {absl::StrCat("geo_radius(geo, ", lat, ", ", lon, ", ", meters, ")"),
            [=](const base::PointId&, const Value& payload) {
              long double x = 0;
              long double y = 0;
              return point(payload, &x, &y) && Haversine(x, y, lat, lon) <= meters;
            }};
  }
  const int bottom = lat - static_cast<int>(Below(static_cast<uint64_t>(lat + 91)));
  const auto right = static_cast<int>(Below(361)) - 180;
  return {absl::StrCat("geo_box(geo, ", lat, ", ", lon, ", ", bottom, ", ", right, ")"),
          [=](const base::PointId&, const Value& payload) {
            long double x = 0;
            long double y = 0;
            if (!point(payload, &x, &y) || x > lat || x < bottom) return false;
            return lon <= right ? y >= lon && y <= right : y >= lon || y <= right;
          }};
}

OracleFilter FilterOracle::DrawCondition() {
  const std::string path = DrawPath();
  switch (Below(10)) {
    case 0:
      return {path + " IS NULL", Any(path, [](const Value& value) { return value.is_null(); })};
    case 1:
      return {"EXISTS(" + path + ")", [path](const base::PointId&, const Value& payload) {
                return At(payload, path) != nullptr;
              }};
    case 2: {
      const std::string prefix(Below(3), static_cast<char>('a' + Below(3)));
      return {path + " LIKE '" + prefix + "%'", Any(path, [prefix](const Value& value) {
                return value.string() != nullptr && value.string()->rfind(prefix, 0) == 0;
              })};
    }
    case 3: {
      const auto low = static_cast<int64_t>(Below(5)) - 1;
      const auto high = static_cast<int64_t>(Below(5)) - 1;
      return {absl::StrCat(path, " BETWEEN ", low, " AND ", high),
              Any(path, [=](const Value& value) {
                return IsNumber(value) && NumberOf(value) >= low && NumberOf(value) <= high;
              })};
    }
    case 4: {
      const uint64_t first = Below(20);
      const uint64_t second = Below(20);
      return {absl::StrCat("has_id(", first, ", ", second, ")"),
              [=](const base::PointId& id, const Value&) {
                return id == base::PointId(first) || id == base::PointId(second);
              }};
    }
    case 5:
      return DrawGeo();
    case 6: {
      const std::string day = absl::StrCat("2024-01-0", 1 + Below(4));
      // Instants of these strings have the order of their bytes.
      return {absl::StrCat(path, " > datetime('", day, "')"), Any(path, [day](const Value& value) {
                return value.string() != nullptr && value.string()->size() == 20 &&
                       *value.string() > day + "T00:00:00Z";
              })};
    }
    case 7:
      return DrawSet(path);
    default:
      return DrawComparison(path);
  }
}

OracleFilter FilterOracle::Draw(int depth) {
  const uint64_t kind = depth == 0 ? 0 : Below(6);
  if (kind <= 1) return DrawCondition();
  if (kind == 2) return Opposite(Draw(depth - 1));
  std::vector<OracleFilter> parts;
  for (uint64_t n = 1 + Below(4); n > 0; --n) parts.push_back(Draw(depth - 1));
  const size_t least = kind == 3 ? parts.size() : kind == 4 ? 1 : Below(parts.size() + 2);
  std::string text = kind == 5 ? absl::StrCat("AT LEAST ", least, " OF (") : "";
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) absl::StrAppend(&text, kind == 3 ? " AND " : kind == 4 ? " or " : ", ");
    absl::StrAppend(&text, "(", parts[i].text, ")");
  }
  if (kind == 5) text += ")";
  return {text, [parts, least](const base::PointId& id, const Value& payload) {
            size_t held = 0;
            for (const OracleFilter& part : parts) held += part.holds(id, payload) ? 1 : 0;
            return held >= least;
          }};
}

}  // namespace tessera::inline test
