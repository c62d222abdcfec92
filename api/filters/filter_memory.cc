// What a filter takes: its constants as values and as the engine's, its conditions as text and as
// nodes, the tokens of its expression.
#include <cstdint>
#include <string>

#include "api/filters/filter_tree.h"

namespace tessera::api {
namespace {

// A value of a list that grows, the engine's constant of it, copies that are sorted.
constexpr uint64_t kConstantBytes = 240;
// Of its text beside the request's own, while it goes from one form to the next.
constexpr uint64_t kTextCopies = 4;
constexpr uint64_t kConditionBytes = 2048;
// A token, in an array that doubles.
constexpr uint64_t kTokenBytes = 200;

bool IsWordByte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) > 127;
}

// As many as there are tokens, or more: spaces and texts in quotes are counted byte by byte where
// they are no words.
uint64_t TokensOf(const std::string& expression) {
  uint64_t tokens = 1;
  bool in_word = false;
  for (const char c : expression) {
    const bool word = IsWordByte(c);
    if (!(word && in_word) && c != ' ') ++tokens;
    in_word = word;
  }
  return tokens;
}

uint64_t BytesOf(const v1::ValueList& list);

uint64_t BytesOf(const v1::Value& value) {
  return kConstantBytes + kTextCopies * (value.text().size() + value.datetime().size()) +
         (value.has_list() ? BytesOf(value.list()) : 0);
}

// A datetime stands in the expression, a few tokens each.
uint64_t BytesOf(const v1::ValueList& list) {
  uint64_t bytes = 0;
  for (const v1::Value& value : list.values()) {
    bytes += BytesOf(value) + (value.has_datetime() ? 8 * kTokenBytes : 0);
  }
  return bytes;
}

uint64_t BytesOf(const v1::FilterTree& tree);

uint64_t BytesOf(const v1::Condition& condition) {
  uint64_t bytes = kConditionBytes + 2 * kTextCopies * condition.path().size() +
                   kTextCopies * condition.prefix().size();
  bytes += BytesOf(condition.eq()) + BytesOf(condition.in()) + BytesOf(condition.any_of()) +
           BytesOf(condition.all_of()) + BytesOf(condition.none_of());
  const v1::Range& range = condition.range();
  bytes += BytesOf(range.gt()) + BytesOf(range.gte()) + BytesOf(range.lt()) + BytesOf(range.lte());
  for (const v1::PointId& id : condition.has_id().ids()) {
    bytes += kConstantBytes + kTextCopies * (id.str().size() + id.uuid().size());
  }
  return bytes + (condition.has_filter() ? BytesOf(condition.filter()) : 0);
}

uint64_t BytesOf(const v1::FilterTree& tree) {
  uint64_t bytes = 0;
  for (const v1::Condition& condition : tree.must()) bytes += BytesOf(condition);
  for (const v1::Condition& condition : tree.should()) bytes += BytesOf(condition);
  for (const v1::Condition& condition : tree.must_not()) bytes += BytesOf(condition);
  return bytes;
}

}  // namespace

uint64_t FilterMemoryBytes(const v1::Filter& filter) {
  uint64_t bytes = filter.SpaceUsedLong() + (filter.has_tree() ? BytesOf(filter.tree()) : 0);
  const std::string& expression = filter.expression();
  if (expression.size() <= kFilterBytesMax) {  // longer ones are refused unread
    bytes += kTextCopies * expression.size() + kTokenBytes * TokensOf(expression);
  }
  for (const auto& [name, value] : filter.parameters()) {
    bytes += 2 * kConstantBytes + name.size() + BytesOf(value);
  }
  return bytes;
}

}  // namespace tessera::api
