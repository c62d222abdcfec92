// JSON looked at in place: what ParseJson takes, without a Value made of it.
//
// Threads: a view belongs to the thread, and to the call of VisitJson, that it was given in.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace tessera::base {

class JsonView {
 public:
  enum class Kind : uint8_t { kNull, kFalse, kTrue, kInteger, kNumber, kString, kList, kObject };

  Kind kind() const;
  // Pre: of that kind.
  int64_t integer() const;
  double number() const;
  std::string_view string() const;
  void ForEachElement(absl::FunctionRef<void(JsonView)> visit) const;
  // Keys ascend, each once; of a key that comes again the last value counts, as in a Value.
  // Cost: O(members), and sorting those whose keys do not ascend in the text.
  void ForEachMember(absl::FunctionRef<void(std::string_view, JsonView)> visit) const;
  // Cost: O(members).
  std::optional<JsonView> Member(std::string_view key) const;

 private:
  friend struct JsonAccess;
  // An element of the parser, whose header is no part of this one.
  alignas(8) std::array<char, 16> element_{};
};

// Shows the whole text to `visit`. Errors: as ParseJson, before the call.
// Pre: not within another such call of this thread. Cost: O(text), no allocation in most calls.
absl::Status VisitJson(std::string_view text, absl::FunctionRef<void(JsonView)> visit);

}  // namespace tessera::base
