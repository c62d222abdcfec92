#include "base/value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/files/json_file.h"
#include "base/files/simdjson_include.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::base {
namespace {

// Kept parsers hold about ten times the largest text they saw; larger texts get one of their own.
constexpr size_t kKeptParserTextBytes = size_t{8} << 10;

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

bool IsContinuation(char c) {
  return (static_cast<uint8_t>(c) & 0xC0) == 0x80;
}

// Length of the well-formed UTF-8 sequence that starts `text`, 0 if it is ill-formed.
// Source: The Unicode Standard, table 3-7.
size_t Utf8SequenceBytes(std::string_view text) {
  const auto first = static_cast<uint8_t>(text[0]);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if (!IsContinuation(text[i])) return 0;
  }
  const auto second = static_cast<uint8_t>(text[1]);
  const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool surrogate = first == 0xED && second > 0x9F;
  const bool too_large = first == 0xF4 && second > 0x8F;
  return overlong || surrogate || too_large ? 0 : length;
}

void AppendEscaped(char c, std::string* out) {
  switch (c) {
    case '"':
      out->append("\\\"");
      break;
    case '\\':
      out->append("\\\\");
      break;
    case '\n':
      out->append("\\n");
      break;
    case '\r':
      out->append("\\r");
      break;
    case '\t':
      out->append("\\t");
      break;
    default:
      out->append("\\u00");
      out->push_back(kHexDigits[static_cast<uint8_t>(c) >> 4]);
      out->push_back(kHexDigits[static_cast<uint8_t>(c) & 0xF]);
  }
}

void AppendString(std::string_view text, std::string* out) {
  out->push_back('"');
  while (!text.empty()) {
    const char c = text[0];
    size_t length = 1;
    if (c == '"' || c == '\\' || static_cast<uint8_t>(c) < 0x20) {
      AppendEscaped(c, out);
    } else if (length = Utf8SequenceBytes(text); length > 0) {
      out->append(text.substr(0, length));
    } else {
      out->append(kReplacement);
      length = 1;
    }
    text.remove_prefix(length);
  }
  out->push_back('"');
}

void AppendNumber(double number, std::string* out) {
  if (!std::isfinite(number)) {
    out->append("null");
    return;
  }
  std::array<char, 32> text{};
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), number);
  TESSERA_CHECK(error == std::errc());
  const std::string_view digits(text.data(), static_cast<size_t>(end - text.data()));
  out->append(digits);
  if (digits.find_first_of(".e") == std::string_view::npos) out->append(".0");
}

void AppendJson(const Value& value, std::string* out) {
  if (const bool* boolean = value.boolean()) {
    out->append(*boolean ? "true" : "false");
  } else if (const int64_t* integer = value.integer()) {
    absl::StrAppend(out, *integer);
  } else if (const double* number = value.number()) {
    AppendNumber(*number, out);
  } else if (const std::string* string = value.string()) {
    AppendString(*string, out);
  } else if (const Value::List* list = value.list()) {
    out->push_back('[');
    for (size_t i = 0; i < list->size(); ++i) {
      if (i > 0) out->push_back(',');
      AppendJson((*list)[i], out);
    }
    out->push_back(']');
  } else if (const Value::Object* object = value.object()) {
    out->push_back('{');
    for (auto it = object->begin(); it != object->end(); ++it) {
      if (it != object->begin()) out->push_back(',');
      AppendString(it->first, out);
      out->push_back(':');
      AppendJson(it->second, out);
    }
    out->push_back('}');
  } else {
    out->append("null");
  }
}

absl::Status ParseError(simdjson::error_code code) {
  return absl::InvalidArgumentError(
      absl::StrCat("not valid JSON: ", simdjson::error_message(code)));
}

// Null: whole numbers over int64 are refused.
using LargeKeys = std::set<std::string, std::less<>>*;

absl::StatusOr<Value> ConvertLarge(uint64_t integer, LargeKeys large) {
  if (large != nullptr) return Value(absl::StrCat(integer));
  return absl::InvalidArgumentError(
      absl::StrCat("JSON has the integer ", integer,
                   ", must be -2^63 .. 2^63 - 1; in quotes, as text, it can be larger"));
}

// `depth` arrays and objects are around `element`.
absl::StatusOr<Value> Convert(const simdjson::dom::element& element, int depth,
                              LargeKeys large = nullptr) {
  using Type = simdjson::dom::element_type;
  const Type type = element.type();
  if ((type == Type::ARRAY || type == Type::OBJECT) && depth == kValueDepthMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("JSON is nested deeper than ", kValueDepthMax, " levels"));
  }
  switch (type) {
    case Type::NULL_VALUE:
      return Value();
    case Type::BOOL:
      return Value(element.get_bool().value_unsafe());
    case Type::INT64:
      return Value(element.get_int64().value_unsafe());
    case Type::UINT64:
      return ConvertLarge(element.get_uint64().value_unsafe(), large);
    case Type::DOUBLE:
      return Value(element.get_double().value_unsafe());
    case Type::STRING:
      return Value(std::string(element.get_string().value_unsafe()));
    case Type::ARRAY: {
      Value::List list;
      const simdjson::dom::array children = element.get_array().value_unsafe();
      for (const simdjson::dom::element child : children) {
        TESSERA_ASSIGN_OR_RETURN(Value value, Convert(child, depth + 1, large));
        list.push_back(std::move(value));
      }
      return Value(std::move(list));
    }
    case Type::OBJECT: {
      Value::Object object;
      const simdjson::dom::object children = element.get_object().value_unsafe();
      for (const auto& [key, child] : children) {
        TESSERA_ASSIGN_OR_RETURN(Value value, Convert(child, depth + 1, large));
        if (large != nullptr && depth == 0) {
          if (child.type() == Type::UINT64) {
            large->emplace(key);
          } else if (const auto earlier = large->find(key); earlier != large->end()) {
            large->erase(earlier);  // of a repeated key the last value stays
          }
        }
        object.insert_or_assign(std::string(key), std::move(value));
      }
      return Value(std::move(object));
    }
  }
  return ParseError(simdjson::TAPE_ERROR);
}

absl::Status AppendCanonical(const simdjson::dom::element& element, int depth, std::string* out);

absl::Status AppendCanonical(const simdjson::dom::object& object, int depth, std::string* out) {
  using Pair = std::pair<std::string_view, simdjson::dom::element>;
  std::vector<Pair> pairs;
  for (const auto& [key, child] : object) pairs.emplace_back(key, child);
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const Pair& a, const Pair& b) { return a.first < b.first; });
  out->push_back('{');
  for (size_t i = 0; i < pairs.size(); ++i) {
    // Of a key that comes twice the last value counts, as in a Value.
    if (i + 1 < pairs.size() && pairs[i + 1].first == pairs[i].first) {
      std::string unused;
      TESSERA_RETURN_IF_ERROR(AppendCanonical(pairs[i].second, depth + 1, &unused));
      continue;
    }
    if (out->back() != '{') out->push_back(',');
    AppendString(pairs[i].first, out);
    out->push_back(':');
    TESSERA_RETURN_IF_ERROR(AppendCanonical(pairs[i].second, depth + 1, out));
  }
  out->push_back('}');
  return absl::OkStatus();
}

absl::Status AppendCanonical(const simdjson::dom::element& element, int depth, std::string* out) {
  using Type = simdjson::dom::element_type;
  const Type type = element.type();
  if (type == Type::STRING) {
    AppendString(element.get_string().value_unsafe(), out);
    return absl::OkStatus();
  }
  if ((type != Type::ARRAY && type != Type::OBJECT) || depth == kValueDepthMax) {
    TESSERA_ASSIGN_OR_RETURN(const Value value, Convert(element, depth));
    AppendJson(value, out);
    return absl::OkStatus();
  }
  if (type == Type::OBJECT) {
    return AppendCanonical(element.get_object().value_unsafe(), depth, out);
  }
  out->push_back('[');
  const simdjson::dom::array children = element.get_array().value_unsafe();
  for (const simdjson::dom::element child : children) {
    if (out->back() != '[') out->push_back(',');
    TESSERA_RETURN_IF_ERROR(AppendCanonical(child, depth + 1, out));
  }
  out->push_back(']');
  return absl::OkStatus();
}

absl::StatusOr<Value> ParseWith(simdjson::dom::parser* parser, std::string_view text) {
  simdjson::dom::element root;
  if (const auto code = parser->parse(text.data(), text.size()).get(root); code) {
    return ParseError(code);
  }
  return Convert(root, 0);
}

}  // namespace

std::string Value::ToJson() const {
  std::string out;
  AppendJson(*this, &out);
  return out;
}

absl::StatusOr<std::string> CanonicalJson(std::string_view text) {
  simdjson::dom::parser own;
  thread_local simdjson::dom::parser kept;
  simdjson::dom::parser& parser = text.size() > kKeptParserTextBytes ? own : kept;
  simdjson::dom::element root;
  if (const auto code = parser.parse(text.data(), text.size()).get(root); code) {
    return ParseError(code);
  }
  std::string out;
  out.reserve(text.size());
  TESSERA_RETURN_IF_ERROR(AppendCanonical(root, 0, &out));
  return out;
}

absl::StatusOr<Value> ParseJson(std::string_view text) {
  if (text.size() > kKeptParserTextBytes) {
    simdjson::dom::parser parser;
    return ParseWith(&parser, text);
  }
  thread_local simdjson::dom::parser parser;
  return ParseWith(&parser, text);
}

absl::StatusOr<Value> ParseJsonKeepingLarge(std::string_view text,
                                            std::set<std::string, std::less<>>* large_keys) {
  large_keys->clear();
  simdjson::dom::parser own;
  thread_local simdjson::dom::parser kept;
  simdjson::dom::parser& parser = text.size() > kKeptParserTextBytes ? own : kept;
  simdjson::dom::element root;
  if (const auto code = parser.parse(text.data(), text.size()).get(root); code) {
    return ParseError(code);
  }
  return Convert(root, 0, large_keys);
}

}  // namespace tessera::base
