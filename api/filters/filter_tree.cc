#include "api/filters/filter_tree.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "api/convert.h"
#include "api/filters/filter_path.h"
#include "api/filters/filter_value.h"
#include "base/status_details.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

using base::BlameField;
using base::InvalidField;

// `status` as the error of `field`, whose name its message lacks.
absl::Status Named(const absl::Status& status, const std::string& field) {
  return BlameField(base::Prefixed(absl::StrCat(field, ": "), status), field);
}

// Writes trees as expressions.
class TreeWriter {
 public:
  // Appends `tree`, which needs brackets around it unless it is all of the expression.
  absl::Status Tree(const v1::FilterTree& tree, size_t depth, const std::string& name) {
    if (tree.must_size() + tree.should_size() + tree.must_not_size() == 0) {
      return InvalidField(name, "has no condition; leave the filter out to ask for all points");
    }
    const size_t parts = static_cast<size_t>(tree.must_size()) +
                         static_cast<size_t>(tree.must_not_size()) + (tree.should_size() > 0);
    const size_t joined = parts > 1 ? 1 : 0;
    bool first = true;
    const auto next = [&] { Append(std::exchange(first, false) ? "" : " AND "); };
    for (int i = 0; i < tree.must_size(); ++i) {
      next();
      TESSERA_RETURN_IF_ERROR(
          Condition(tree.must(i), depth, joined, absl::StrCat(name, ".must[", i, "]")));
    }
    if (tree.should_size() > 0) next();
    TESSERA_RETURN_IF_ERROR(Should(tree, depth, joined, name));
    for (int i = 0; i < tree.must_not_size(); ++i) {
      next();
      Append("NOT ");
      TESSERA_RETURN_IF_ERROR(
          Condition(tree.must_not(i), depth + 1, joined, absl::StrCat(name, ".must_not[", i, "]")));
    }
    return absl::OkStatus();
  }

  db::FilterText Take() { return std::move(out_); }

 private:
  void Append(std::string_view text) { out_.expression.append(text); }

  absl::Status Should(const v1::FilterTree& tree, size_t depth, size_t joined,
                      const std::string& name) {
    const auto count = static_cast<uint32_t>(tree.should_size());
    if (tree.min_should() > count) {
      return InvalidField(name + ".min_should", absl::StrCat("is ", tree.min_should(), ", of ",
                                                             count, " conditions in should"));
    }
    if (count == 0) return absl::OkStatus();
    const bool any = tree.min_should() <= 1;
    Append(any ? "(" : absl::StrCat("AT LEAST ", tree.min_should(), " OF ("));
    for (int i = 0; i < tree.should_size(); ++i) {
      if (i > 0) Append(any ? " OR " : ", ");
      TESSERA_RETURN_IF_ERROR(
          Condition(tree.should(i), depth + 1, joined, absl::StrCat(name, ".should[", i, "]")));
    }
    Append(")");
    return absl::OkStatus();
  }

  // Brackets and NOT around a condition count a level each, and so does an AND or a negative form
  // that is the innermost: a bound on what the parser and the finished filter count.
  absl::Status Condition(const v1::Condition& condition, size_t depth, size_t joined,
                         const std::string& name) {
    const bool negative = condition.has_none_of() ||
                          (condition.has_exists() && !condition.exists()) ||
                          (condition.has_is_null() && !condition.is_null());
    if (depth + joined + (negative ? 1 : 0) > kFilterDepthMax) {
      return InvalidField(name, absl::StrCat("is nested deeper than ", kFilterDepthMax, " levels"));
    }
    if (condition.has_filter()) {
      if (!condition.path().empty()) return InvalidField(name + ".path", "is given beside filter");
      Append("(");
      TESSERA_RETURN_IF_ERROR(Tree(condition.filter(), depth + 1, name + ".filter"));
      Append(")");
      return absl::OkStatus();
    }
    if (++conditions_ > kFilterConditionsMax) {
      return InvalidField(name,
                          absl::StrCat("is condition ", conditions_, " of the filter, at most ",
                                       kFilterConditionsMax, " are allowed"));
    }
    if (condition.has_has_id()) return HasId(condition, name);
    if (condition.test_case() == v1::Condition::TEST_NOT_SET) {
      return InvalidField(name, "has no test");
    }
    const absl::StatusOr<std::string> path = QuotePath(condition.path());
    if (!path.ok()) return Named(path.status(), name + ".path");
    return OfPath(condition, *path, name);
  }

  absl::Status OfPath(const v1::Condition& condition, const std::string& path,
                      const std::string& name) {
    switch (condition.test_case()) {
      case v1::Condition::kEq:
        Append(path + " = ");
        return Scalar(condition.eq(), name + ".eq");
      case v1::Condition::kIn:
        Append(path + " IN ");
        return List(condition.in(), name + ".in");
      case v1::Condition::kAnyOf:
        Append(path + " CONTAINS ANY ");
        return List(condition.any_of(), name + ".any_of");
      case v1::Condition::kAllOf:
        Append(path + " CONTAINS ALL ");
        return List(condition.all_of(), name + ".all_of");
      case v1::Condition::kNoneOf:
        Append(path + " CONTAINS NONE ");
        return List(condition.none_of(), name + ".none_of");
      case v1::Condition::kRange:
        return Range(condition.range(), path, name + ".range");
      case v1::Condition::kExists:
        Append(absl::StrCat(condition.exists() ? "" : "NOT ", "EXISTS(", path, ")"));
        return absl::OkStatus();
      case v1::Condition::kIsNull:
        Append(absl::StrCat(path, condition.is_null() ? " IS NULL" : " IS NOT NULL"));
        return absl::OkStatus();
      case v1::Condition::kPrefix:
        Append(path + " LIKE ");
        Parameter(base::Value(LikePattern(condition.prefix())));
        return absl::OkStatus();
      case v1::Condition::kGeoBox:
        return GeoBox(condition.geo_box(), path, name + ".geo_box");
      case v1::Condition::kGeoRadius:
        return GeoRadius(condition.geo_radius(), path, name + ".geo_radius");
      case v1::Condition::kHasId:
      case v1::Condition::kFilter:
      case v1::Condition::TEST_NOT_SET:
        break;
    }
    return InvalidField(name, "has no test");
  }

  static std::string LikePattern(const std::string& prefix) {
    std::string pattern;
    for (const char c : prefix) {
      if (c == '%' || c == '\\') pattern.push_back('\\');
      pattern.push_back(c);
    }
    return pattern + "%";
  }

  void Parameter(base::Value value) {
    const std::string name = absl::StrCat("p", out_.parameters.size());
    absl::StrAppend(&out_.expression, "$", name);
    out_.parameters.emplace(name, std::move(value));
  }

  // A datetime is no value of a payload, so no parameter either.
  absl::Status Scalar(const v1::Value& value, const std::string& name) {
    if (value.has_datetime()) {
      TESSERA_RETURN_IF_ERROR(CheckDatetime(value.datetime(), name));
      Append(absl::StrCat("datetime(", QuoteText(value.datetime(), '"'), ")"));
      return absl::OkStatus();
    }
    TESSERA_ASSIGN_OR_RETURN(base::Value scalar, ScalarFromProto(value, name));
    Parameter(std::move(scalar));
    return absl::OkStatus();
  }

  absl::Status List(const v1::ValueList& list, const std::string& name) {
    TESSERA_RETURN_IF_ERROR(CheckConstants(list.values_size(), name));
    const bool plain = std::none_of(list.values().begin(), list.values().end(),
                                    [](const v1::Value& value) { return value.has_datetime(); });
    base::Value::List constants;
    if (!plain) Append("(");
    for (int i = 0; i < list.values_size(); ++i) {
      if (!plain) {
        Append(i > 0 ? ", " : "");
        TESSERA_RETURN_IF_ERROR(Scalar(list.values(i), absl::StrCat(name, ".values[", i, "]")));
        continue;
      }
      constants.emplace_back();
      TESSERA_RETURN_IF_ERROR(ListItemFromProto(list, i, name + ".values", &constants.back()));
    }
    if (plain) {
      Parameter(base::Value(std::move(constants)));
    } else {
      Append(")");
    }
    return absl::OkStatus();
  }

  static absl::Status CheckBounds(const v1::Range& range, const std::string& name) {
    if (range.has_gt() && range.has_gte()) return InvalidField(name, "has both gt and gte");
    if (range.has_lt() && range.has_lte()) return InvalidField(name, "has both lt and lte");
    if (!range.has_gt() && !range.has_gte() && !range.has_lt() && !range.has_lte()) {
      return InvalidField(name, "has no bound, must have at least 1");
    }
    return absl::OkStatus();
  }

  // Booleans, numbers, texts, datetimes.
  static int TypeOf(const v1::Value& value) {
    return value.has_integer() ? v1::Value::kNumber : value.kind_case();
  }

  absl::Status Range(const v1::Range& range, const std::string& path, const std::string& name) {
    TESSERA_RETURN_IF_ERROR(CheckBounds(range, name));
    const bool low = range.has_gt() || range.has_gte();
    const bool high = range.has_lt() || range.has_lte();
    const v1::Value& from = range.has_gt() ? range.gt() : range.gte();
    const v1::Value& to = range.has_lt() ? range.lt() : range.lte();
    if (low && high && TypeOf(from) != TypeOf(to)) {
      return InvalidField(name, "has bounds of two types, must have one");
    }
    const std::string from_name = name + (range.has_gt() ? ".gt" : ".gte");
    const std::string to_name = name + (range.has_lt() ? ".lt" : ".lte");
    if (low && high) {
      Append(absl::StrCat(path, " BETWEEN ", range.has_gt() ? "> " : ""));
      TESSERA_RETURN_IF_ERROR(Scalar(from, from_name));
      Append(range.has_lt() ? " AND < " : " AND ");
      return Scalar(to, to_name);
    }
    const char* const comparison = range.has_gt()    ? " > "
                                   : range.has_gte() ? " >= "
                                   : range.has_lt()  ? " < "
                                                     : " <= ";
    Append(path + comparison);
    return low ? Scalar(from, from_name) : Scalar(to, to_name);
  }

  static absl::Status CheckDegrees(double value, double most, const std::string& name) {
    if (value >= -most && value <= most) return absl::OkStatus();
    return InvalidField(name, absl::StrCat("is ", value, ", must be ", -most, " .. ", most));
  }

  absl::Status GeoBox(const v1::GeoBox& box, const std::string& path, const std::string& name) {
    TESSERA_RETURN_IF_ERROR(CheckDegrees(box.top_lat(), 90, name + ".top_lat"));
    TESSERA_RETURN_IF_ERROR(CheckDegrees(box.left_lon(), 180, name + ".left_lon"));
    TESSERA_RETURN_IF_ERROR(CheckDegrees(box.bottom_lat(), 90, name + ".bottom_lat"));
    TESSERA_RETURN_IF_ERROR(CheckDegrees(box.right_lon(), 180, name + ".right_lon"));
    if (box.bottom_lat() > box.top_lat()) {
      return InvalidField(
          name + ".bottom_lat",
          absl::StrCat("is ", box.bottom_lat(), ", must be at most top_lat, ", box.top_lat()));
    }
    Append(absl::StrCat("geo_box(", path));
    for (const double number : {box.top_lat(), box.left_lon(), box.bottom_lat(), box.right_lon()}) {
      Append(", ");
      Parameter(base::Value(number));
    }
    Append(")");
    return absl::OkStatus();
  }

  absl::Status GeoRadius(const v1::GeoRadius& circle, const std::string& path,
                         const std::string& name) {
    TESSERA_RETURN_IF_ERROR(CheckDegrees(circle.lat(), 90, name + ".lat"));
    TESSERA_RETURN_IF_ERROR(CheckDegrees(circle.lon(), 180, name + ".lon"));
    if (!(circle.meters() >= 0 && std::isfinite(circle.meters()))) {
      return InvalidField(name + ".meters",
                          absl::StrCat("is ", circle.meters(), ", must be finite and at least 0"));
    }
    Append(absl::StrCat("geo_radius(", path));
    for (const double number : {circle.lat(), circle.lon(), circle.meters()}) {
      Append(", ");
      Parameter(base::Value(number));
    }
    Append(")");
    return absl::OkStatus();
  }

  absl::Status HasId(const v1::Condition& condition, const std::string& name) {
    if (!condition.path().empty()) return InvalidField(name + ".path", "is given beside has_id");
    const auto& ids = condition.has_id().ids();
    TESSERA_RETURN_IF_ERROR(CheckConstants(ids.size(), name + ".has_id.ids"));
    base::Value::List list;
    list.reserve(static_cast<size_t>(ids.size()));
    for (int i = 0; i < ids.size(); ++i) {
      const absl::StatusOr<base::PointId> id = FromProto(ids[i]);
      if (!id.ok()) return Named(id.status(), absl::StrCat(name, ".has_id.ids[", i, "]"));
      list.emplace_back(id->ToString());  // one text names one id
    }
    Append("has_id(");
    Parameter(base::Value(std::move(list)));
    Append(")");
    return absl::OkStatus();
  }

  size_t conditions_ = 0;
  db::FilterText out_;
};

absl::StatusOr<db::FilterText> ExpressionFromProto(const v1::Filter& filter,
                                                   const std::string& field) {
  const std::string& expression = filter.expression();
  if (expression.find_first_not_of(" \t\r\n\f\v") == std::string::npos) {
    return InvalidField(field + ".expression",
                        "is empty; leave the filter out to ask for all points");
  }
  if (expression.size() > kFilterBytesMax) {
    return base::OverLimit(
        InvalidField(field + ".expression",
                     absl::StrCat("has ", expression.size(), " bytes, at most ", kFilterBytesMax)),
        expression.size(), kFilterBytesMax);
  }
  if (filter.parameters().size() > kFilterParametersMax) {
    return InvalidField(field + ".parameters", absl::StrCat("are ", filter.parameters().size(),
                                                            ", at most ", kFilterParametersMax));
  }
  db::FilterText out{.expression = expression};
  for (const auto& [name, value] : filter.parameters()) {
    TESSERA_ASSIGN_OR_RETURN(out.parameters[name],
                             ParameterFromProto(value, field + ".parameters[" + name + "]"));
  }
  return out;
}

}  // namespace

absl::StatusOr<db::FilterText> FilterFromProto(const v1::Filter& filter, std::string_view field) {
  const std::string name(field);
  db::FilterText out;
  if (filter.has_tree()) {
    if (!filter.parameters().empty()) {
      return InvalidField(name + ".parameters", "are given beside a tree, which has its constants");
    }
    TreeWriter writer;
    TESSERA_RETURN_IF_ERROR(writer.Tree(filter.tree(), 1, name + ".tree"));
    out = writer.Take();
  } else if (filter.has_expression()) {
    TESSERA_ASSIGN_OR_RETURN(out, ExpressionFromProto(filter, name));
  } else {
    return InvalidField(name, "has neither a tree nor an expression");
  }
  out.strict = filter.strict();
  return out;
}

void ToProto(const db::FilterText& filter, v1::Filter* out) {
  out->set_expression(filter.expression);
  for (const auto& [name, value] : filter.parameters) {
    ToProto(value, &(*out->mutable_parameters())[name]);
  }
  out->set_strict(filter.strict);
}

}  // namespace tessera::api
