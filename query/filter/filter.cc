#include "query/filter/filter.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "base/value.h"
#include "query/filter/datetime.h"
#include "query/filter/keywords.h"
#include "query/filter/numbers.h"

namespace tessera::query {
namespace {

using base::Sv;

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <typename... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

// --- validation

absl::Status Check(bool ok, std::string_view what, double actual, std::string_view allowed) {
  if (ok) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("filter: ", Sv(what), " is ", actual, ", must be ", Sv(allowed)));
}

absl::Status CheckLat(double lat) {
  return Check(lat >= -90 && lat <= 90, "a latitude", lat, "-90 .. 90");
}

absl::Status CheckLon(double lon) {
  return Check(lon >= -180 && lon <= 180, "a longitude", lon, "-180 .. 180");
}

absl::Status CheckCount(size_t count, size_t most, std::string_view what) {
  if (count <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("filter: ", Sv(what), " has ", count, ", at most ", most, " are allowed"));
}

absl::Status CheckConstant(const Constant& constant) {
  const double* number = std::get_if<double>(&constant);
  if (number == nullptr || std::isfinite(*number)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("filter: a constant is ", *number, ", must be finite"));
}

absl::Status CheckPath(const FieldPath& path) {
  if (path.empty()) return absl::InvalidArgumentError("filter: a path has no names");
  return CheckCount(path.size(), kFilterPathDepthMax, "the path");
}

class Validator {
 public:
  absl::Status Visit(const Filter& filter, size_t depth) {
    TESSERA_RETURN_IF_ERROR(CheckCount(depth, kFilterDepthMax, "its nesting"));
    return std::visit(
        Overloaded{[&](const AtLeast& node) { return VisitAll(node.filters, depth + 1); },
                   [&](const Not& node) { return VisitAll(node.filter, depth + 1); },
                   [&](const HasId& node) {
                     TESSERA_RETURN_IF_ERROR(Leaf());
                     return CheckCount(node.ids.size(), kFilterConstantsMax, "has_id");
                   },
                   [&](const auto& node) {
                     TESSERA_RETURN_IF_ERROR(Leaf());
                     TESSERA_RETURN_IF_ERROR(CheckPath(node.path));
                     return CheckLeaf(node);
                   }},
        filter.node);
  }

 private:
  absl::Status Leaf() { return CheckCount(++leaves_, kFilterConditionsMax, "it"); }

  absl::Status VisitAll(const std::vector<Filter>& filters, size_t depth) {
    for (const Filter& filter : filters) TESSERA_RETURN_IF_ERROR(Visit(filter, depth));
    return absl::OkStatus();
  }

  static absl::Status CheckLeaf(const In& node) {
    TESSERA_RETURN_IF_ERROR(CheckCount(node.constants.size(), kFilterConstantsMax, "an IN"));
    for (const Constant& constant : node.constants) {
      TESSERA_RETURN_IF_ERROR(CheckConstant(constant));
    }
    return absl::OkStatus();
  }
  static absl::Status CheckLeaf(const Range& node) {
    if (!node.low.has_value() && !node.high.has_value()) {
      return absl::InvalidArgumentError("filter: a range has no bound, must have at least 1");
    }
    for (const std::optional<Bound>& bound : {node.low, node.high}) {
      if (bound.has_value()) TESSERA_RETURN_IF_ERROR(CheckConstant(bound->constant));
    }
    if (!node.low.has_value() || !node.high.has_value() ||
        TypeOf(node.low->constant) == TypeOf(node.high->constant)) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        absl::StrCat("filter: a range is from ", ToString(node.low->constant), " to ",
                     ToString(node.high->constant), ", both must be of one type"));
  }
  static absl::Status CheckLeaf(const Exists&) { return absl::OkStatus(); }
  static absl::Status CheckLeaf(const IsNull&) { return absl::OkStatus(); }
  static absl::Status CheckLeaf(const Prefix&) { return absl::OkStatus(); }
  static absl::Status CheckLeaf(const GeoBox& node) {
    TESSERA_RETURN_IF_ERROR(CheckLat(node.top_lat));
    TESSERA_RETURN_IF_ERROR(CheckLat(node.bottom_lat));
    TESSERA_RETURN_IF_ERROR(CheckLon(node.left_lon));
    TESSERA_RETURN_IF_ERROR(CheckLon(node.right_lon));
    return Check(node.bottom_lat <= node.top_lat, "the bottom of a box", node.bottom_lat,
                 absl::StrCat("at most its top, ", node.top_lat));
  }
  static absl::Status CheckLeaf(const GeoRadius& node) {
    TESSERA_RETURN_IF_ERROR(CheckLat(node.lat));
    TESSERA_RETURN_IF_ERROR(CheckLon(node.lon));
    return Check(node.meters >= 0 && std::isfinite(node.meters), "a radius", node.meters,
                 "finite and at least 0");
  }

  size_t leaves_ = 0;
};

// --- order

Number NumberOf(const Constant& constant) {
  if (const int64_t* integer = std::get_if<int64_t>(&constant)) return *integer;
  return std::get<double>(constant);
}

// --- text

std::string Quoted(std::string_view text, char quote) {
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  out.push_back(quote);
  return out;
}

bool IsPlainName(std::string_view name) {
  if (name.empty() || absl::ascii_isdigit(static_cast<unsigned char>(name[0]))) return false;
  for (const char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '_') return false;
  }
  return !IsKeyword(name);
}

template <typename Items, typename Text>
std::string Join(const Items& items, std::string_view separator, const Text& text) {
  std::string out;
  for (const auto& item : items) {
    if (&item != &*items.begin()) out.append(separator);
    out.append(text(item));
  }
  return out;
}

std::string NumberText(double value) {
  return base::Value(value).ToJson();
}

// Bounds that BETWEEN can say in its words, others by a form of their own: two comparisons joined
// by AND may hold for two values of a list.
std::string RangeText(const Range& range) {
  const std::string path = ToString(range.path);
  const auto side = [&](const Bound& bound, std::string_view symbol) {
    return absl::StrCat(path, " ", Sv(symbol), bound.inclusive ? "= " : " ",
                        ToString(bound.constant));
  };
  if (!range.high.has_value()) return side(*range.low, ">");
  if (!range.low.has_value()) return side(*range.high, "<");
  return absl::StrCat(path, " BETWEEN ", range.low->inclusive ? "" : "> ",
                      ToString(range.low->constant), " AND ", range.high->inclusive ? "" : "< ",
                      ToString(range.high->constant));
}

std::string Text(const Filter& filter);

std::string Text(const AtLeast& node) {
  const size_t count = node.filters.size();
  if (node.least == 0) return "TRUE";
  if (node.least > count) return "FALSE";
  const auto each = [](const Filter& filter) { return absl::StrCat("(", Text(filter), ")"); };
  if (count == 1) return Text(node.filters[0]);
  if (node.least == count) return Join(node.filters, " AND ", each);
  if (node.least == 1) return Join(node.filters, " OR ", each);
  return absl::StrCat("AT LEAST ", node.least, " OF (", Join(node.filters, ", ", each), ")");
}

std::string Text(const Filter& filter) {
  const auto constants = [](const std::vector<Constant>& all) {
    return Join(all, ", ", [](const Constant& constant) { return ToString(constant); });
  };
  return std::visit(
      Overloaded{
          [](const AtLeast& node) { return Text(node); },
          [](const Not& node) { return absl::StrCat("NOT (", Text(node.filter[0]), ")"); },
          [&](const In& node) {
            if (node.constants.size() == 1) {
              return absl::StrCat(ToString(node.path), " = ", ToString(node.constants[0]));
            }
            return absl::StrCat(ToString(node.path), node.all ? " CONTAINS ALL (" : " IN (",
                                constants(node.constants), ")");
          },
          [](const Range& node) { return RangeText(node); },
          [](const Exists& node) { return absl::StrCat("EXISTS(", ToString(node.path), ")"); },
          [](const IsNull& node) { return absl::StrCat(ToString(node.path), " IS NULL"); },
          [](const Prefix& node) {
            std::string pattern;
            for (const char c : node.prefix) {
              if (c == '%' || c == '\\') pattern.push_back('\\');
              pattern.push_back(c);
            }
            pattern.push_back('%');
            return absl::StrCat(ToString(node.path), " LIKE ", Quoted(pattern, '"'));
          },
          [](const GeoBox& node) {
            return absl::StrCat("geo_box(", ToString(node.path), ", ", NumberText(node.top_lat),
                                ", ", NumberText(node.left_lon), ", ", NumberText(node.bottom_lat),
                                ", ", NumberText(node.right_lon), ")");
          },
          [](const GeoRadius& node) {
            return absl::StrCat("geo_radius(", ToString(node.path), ", ", NumberText(node.lat),
                                ", ", NumberText(node.lon), ", ", NumberText(node.meters), ")");
          },
          [](const HasId& node) {
            const auto id = [](const base::PointId& point) {
              return point.number() != nullptr ? point.ToString() : Quoted(point.ToString(), '"');
            };
            return absl::StrCat("has_id(", Join(node.ids, ", ", id), ")");
          }},
      filter.node);
}

const AtLeast* Junction(const Filter& filter) {
  return std::get_if<AtLeast>(&filter.node);
}

}  // namespace

Filter True() {
  return {AtLeast{.least = 0, .filters = {}}};
}
Filter False() {
  return {AtLeast{.least = 1, .filters = {}}};
}

Filter And(std::vector<Filter> filters) {
  const auto least = static_cast<uint32_t>(filters.size());
  return {AtLeast{.least = least, .filters = std::move(filters)}};
}

Filter Or(std::vector<Filter> filters) {
  return {AtLeast{.least = 1, .filters = std::move(filters)}};
}

Filter Negation(Filter filter) {
  Not negation;
  negation.filter.push_back(std::move(filter));
  return {std::move(negation)};
}

bool IsTrue(const Filter& filter) {
  const AtLeast* node = Junction(filter);
  return node != nullptr && node->least == 0;
}

bool IsFalse(const Filter& filter) {
  const AtLeast* node = Junction(filter);
  return node != nullptr && node->least > node->filters.size();
}

ConstantType TypeOf(const Constant& constant) {
  constexpr ConstantType kTypes[] = {ConstantType::kBool, ConstantType::kNumber,
                                     ConstantType::kNumber, ConstantType::kString,
                                     ConstantType::kDatetime};
  return kTypes[constant.index()];
}

bool Less(const Constant& a, const Constant& b) {
  if (TypeOf(a) != TypeOf(b)) return TypeOf(a) < TypeOf(b);
  switch (TypeOf(a)) {
    case ConstantType::kBool:
      return std::get<bool>(a) < std::get<bool>(b);
    case ConstantType::kNumber:
      return CompareNumbers(NumberOf(a), NumberOf(b)) < 0;
    case ConstantType::kString:
      return std::get<std::string>(a) < std::get<std::string>(b);
    case ConstantType::kDatetime:
      return std::get<Datetime>(a) < std::get<Datetime>(b);
  }
  return false;
}

std::vector<Constant> Canonical(std::vector<Constant> constants) {
  for (Constant& constant : constants) {
    const double* number = std::get_if<double>(&constant);
    if (number == nullptr || *number != std::trunc(*number)) continue;
    if (*number >= -0x1p63 && *number < 0x1p63) constant = static_cast<int64_t>(*number);
  }
  std::sort(constants.begin(), constants.end(), Less);
  const auto equal = [](const Constant& a, const Constant& b) {
    return !Less(a, b) && !Less(b, a);
  };
  constants.erase(std::unique(constants.begin(), constants.end(), equal), constants.end());
  return constants;
}

absl::Status Validate(const Filter& filter) {
  return Validator().Visit(filter, 1);
}

std::string ToString(const Filter& filter) {
  return Text(filter);
}

std::string ToString(const FieldPath& path) {
  return Join(path, ".",
              [](const std::string& name) { return IsPlainName(name) ? name : Quoted(name, '`'); });
}

std::string ToString(const Constant& constant) {
  return std::visit(Overloaded{[](bool value) { return std::string(value ? "true" : "false"); },
                               [](int64_t value) { return absl::StrCat(value); },
                               [](double value) { return NumberText(value); },
                               [](const std::string& value) { return Quoted(value, '"'); },
                               [](const Datetime& value) {
                                 return absl::StrCat("datetime(\"", FormatDatetime(value), "\")");
                               }},
                    constant);
}

bool operator==(const Filter& a, const Filter& b) {
  return ToString(a) == ToString(b);
}

}  // namespace tessera::query
