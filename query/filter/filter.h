// A filter over the payloads of points: a tree of conditions with one meaning however it was
// written (expression, query/filter/parser.h; tree of a request, api).
//
// The values of a path: `a.b` walks objects from the payload down. A scalar there is one value; a
// list is each of its scalars, other elements are passed over; an object is no value (but may be a
// geo point). Lists on the way are not entered. Of a path that leads nowhere there are no values.
//
// Rules, the same for every condition:
//   * A comparison holds if it holds for any value. So `tags = "red"` asks whether a list has it.
//   * Every negative form is exactly NOT of the positive one: `a != 1` is NOT (a = 1), and holds
//     for points that lack `a`; so do NOT IN and IS NOT NULL.
//   * Types do not mix: a string is never equal to, less or more than a number; true is not 1.
//     Integers and doubles are one type and compare exactly, without rounding.
//   * Strings compare by bytes. Datetimes compare as instants with strings that are RFC 3339; a
//     string that is none does not match.
//   * EXISTS holds if the key is there, with whatever value, null included; IS NULL if the value is
//     null, or a list with a null in it.
//   * IN () holds for nothing, so NOT IN () holds for everything.
//
// Threads: value types; concurrent reads allowed.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"

#include "base/point_id.h"

namespace tessera::query {

inline constexpr size_t kFilterDepthMax = 32;           // of AND, OR, NOT in each other
inline constexpr size_t kFilterConditionsMax = 1024;    // leaves of the tree
inline constexpr size_t kFilterConstantsMax = 100'000;  // of one IN, CONTAINS or has_id
inline constexpr size_t kFilterPathDepthMax = 32;       // names of one path
inline constexpr size_t kFilterBytesMax = 4 << 20;      // of an expression

// Microseconds since 1970-01-01T00:00:00Z.
struct Datetime {
  int64_t micros = 0;
  friend auto operator<=>(const Datetime&, const Datetime&) = default;
};

using Constant = std::variant<bool, int64_t, double, std::string, Datetime>;

// In the order of Less.
enum class ConstantType : uint8_t { kBool, kNumber, kString, kDatetime };
ConstantType TypeOf(const Constant& constant);

using FieldPath = std::vector<std::string>;  // names from the payload down, at least one

// Any of the constants (each of them, if `all`) is a value of the path. With one constant: `=`.
// Constants ascending by Less, each once.
struct In {
  FieldPath path;
  std::vector<Constant> constants;
  bool all = false;
};

struct Bound {
  Constant constant;
  bool inclusive = true;
};

// One value of the path lies within the bounds, of which there is at least one.
struct Range {
  FieldPath path;
  std::optional<Bound> low;
  std::optional<Bound> high;
};

struct Exists {
  FieldPath path;
};

struct IsNull {
  FieldPath path;
};

// A string value begins with `prefix`.
struct Prefix {
  FieldPath path;
  std::string prefix;
};

// A geo point {"lat": ..., "lon": ...} (degrees, lat -90 .. 90, lon -180 .. 180), or one in a list,
// lies in the box, borders included; a box with left > right crosses the 180th meridian.
struct GeoBox {
  FieldPath path;
  double top_lat = 0;
  double left_lon = 0;
  double bottom_lat = 0;
  double right_lon = 0;
};

// At most `meters` from the centre along a sphere of radius 6,371,008.8 m.
struct GeoRadius {
  FieldPath path;
  double lat = 0;
  double lon = 0;
  double meters = 0;
};

// The point's own id is one of them. Ascending, each once.
struct HasId {
  std::vector<base::PointId> ids;
};

struct Filter;

// At least `least` of the filters hold. All of them: AND; one: OR. No filters and least 0: true;
// fewer filters than `least`: false.
struct AtLeast {
  uint32_t least = 0;
  std::vector<Filter> filters;
};

struct Not {
  std::vector<Filter> filter;  // exactly one
};

struct Filter {
  std::variant<AtLeast, Not, In, Range, Exists, IsNull, Prefix, GeoBox, GeoRadius, HasId> node;
};

Filter True();
Filter False();
Filter And(std::vector<Filter> filters);
Filter Or(std::vector<Filter> filters);
Filter Negation(Filter filter);
bool IsTrue(const Filter& filter);
bool IsFalse(const Filter& filter);

// Order of constants: booleans, numbers, strings, datetimes. 1 and 1.0 are equal.
bool Less(const Constant& a, const Constant& b);
// Sorted by Less, each once; doubles that are whole numbers as such.
std::vector<Constant> Canonical(std::vector<Constant> constants);

// Errors: kInvalidArgument with what, the actual value and the allowed range: limits above, geo
//         coordinates out of range, numbers that are not finite.
absl::Status Validate(const Filter& filter);

// An expression that parses to an equal filter. Names are quoted where they must be.
std::string ToString(const Filter& filter);
std::string ToString(const FieldPath& path);
std::string ToString(const Constant& constant);

bool operator==(const Filter& a, const Filter& b);

}  // namespace tessera::query
