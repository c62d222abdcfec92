#include "base/files/json_view.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/files/simdjson_include.h"
#include "base/status_macros.h"
#include "base/value.h"

namespace tessera::base {

using simdjson::dom::element;
using simdjson::dom::element_type;

struct JsonAccess {
  static_assert(std::is_trivially_copyable_v<element> && sizeof(element) <= 16);

  static JsonView View(const element& of) {
    JsonView view;
    std::memcpy(view.element_.data(), &of, sizeof(element));
    return view;
  }
  static element Of(const JsonView& view) {
    element of;
    std::memcpy(static_cast<void*>(&of), view.element_.data(), sizeof(element));
    return of;
  }
};

namespace {

// Kept parsers hold about ten times the largest text they saw; larger texts get one of their own.
constexpr size_t kKeptParserTextBytes = size_t{8} << 10;

// What simdjson takes and a Value does not. Looked for in all of the text before anything is shown,
// so that no visitor has half of what is refused, nor passes over a fault in what it does not read.
absl::Status Check(const element& of, int depth) {
  const element_type type = of.type();
  if (type == element_type::UINT64) {
    return absl::InvalidArgumentError(
        absl::StrCat("JSON has the integer ", of.get_uint64().value_unsafe(),
                     ", must be -2^63 .. 2^63 - 1; in quotes, as text, it can be larger"));
  }
  if (type != element_type::ARRAY && type != element_type::OBJECT) return absl::OkStatus();
  if (depth == kValueDepthMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("JSON is nested deeper than ", kValueDepthMax, " levels"));
  }
  if (type == element_type::ARRAY) {
    const simdjson::dom::array children = of.get_array().value_unsafe();
    for (const element child : children) {
      TESSERA_RETURN_IF_ERROR(Check(child, depth + 1));
    }
    return absl::OkStatus();
  }
  const simdjson::dom::object members = of.get_object().value_unsafe();
  for (const auto& [key, child] : members) {
    TESSERA_RETURN_IF_ERROR(Check(child, depth + 1));
  }
  return absl::OkStatus();
}

bool KeysAscend(const simdjson::dom::object& object) {
  std::string_view last;
  bool first = true;
  for (auto at = object.begin(); at != object.end(); ++at, first = false) {
    const std::string_view key = at.key();
    if (!first && last >= key) return false;
    last = key;
  }
  return true;
}

}  // namespace

JsonView::Kind JsonView::kind() const {
  const element of = JsonAccess::Of(*this);
  switch (of.type()) {
    case element_type::BOOL:
      return of.get_bool().value_unsafe() ? Kind::kTrue : Kind::kFalse;
    case element_type::INT64:
      return Kind::kInteger;
    case element_type::DOUBLE:
      return Kind::kNumber;
    case element_type::STRING:
      return Kind::kString;
    case element_type::ARRAY:
      return Kind::kList;
    case element_type::OBJECT:
      return Kind::kObject;
    case element_type::UINT64:  // refused by Check
    case element_type::NULL_VALUE:
      break;
  }
  return Kind::kNull;
}

int64_t JsonView::integer() const {
  return JsonAccess::Of(*this).get_int64().value_unsafe();
}

double JsonView::number() const {
  return JsonAccess::Of(*this).get_double().value_unsafe();
}

std::string_view JsonView::string() const {
  return JsonAccess::Of(*this).get_string().value_unsafe();
}

void JsonView::ForEachElement(absl::FunctionRef<void(JsonView)> visit) const {
  const simdjson::dom::array children = JsonAccess::Of(*this).get_array().value_unsafe();
  for (const element child : children) visit(JsonAccess::View(child));
}

void JsonView::ForEachMember(absl::FunctionRef<void(std::string_view, JsonView)> visit) const {
  const simdjson::dom::object object = JsonAccess::Of(*this).get_object().value_unsafe();
  // The texts that are stored are canonical, with ascending keys.
  if (KeysAscend(object)) {
    for (const auto& [key, child] : object) visit(key, JsonAccess::View(child));
    return;
  }
  absl::InlinedVector<std::pair<std::string_view, element>, 16> members;
  for (const auto& [key, child] : object) members.emplace_back(key, child);
  std::stable_sort(members.begin(), members.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (size_t i = 0; i < members.size(); ++i) {
    if (i + 1 < members.size() && members[i + 1].first == members[i].first) continue;
    visit(members[i].first, JsonAccess::View(members[i].second));
  }
}

std::optional<JsonView> JsonView::Member(std::string_view key) const {
  std::optional<JsonView> found;
  const simdjson::dom::object members = JsonAccess::Of(*this).get_object().value_unsafe();
  for (const auto& [name, child] : members) {
    if (name == key) found = JsonAccess::View(child);
  }
  return found;
}

absl::Status VisitJson(std::string_view text, absl::FunctionRef<void(JsonView)> visit) {
  thread_local simdjson::dom::parser kept;
  thread_local bool within = false;
  TESSERA_CHECK(!within);
  simdjson::dom::parser own;
  simdjson::dom::parser& parser = text.size() > kKeptParserTextBytes ? own : kept;
  element root;
  if (const auto code = parser.parse(text.data(), text.size()).get(root); code) {
    return absl::InvalidArgumentError(
        absl::StrCat("not valid JSON: ", simdjson::error_message(code)));
  }
  TESSERA_RETURN_IF_ERROR(Check(root, 0));
  within = true;
  visit(JsonAccess::View(root));
  within = false;
  return absl::OkStatus();
}

}  // namespace tessera::base
