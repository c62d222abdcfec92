#include "query/filter/keywords.h"

#include <algorithm>
#include <array>

#include "absl/strings/match.h"

#include "base/strings.h"

namespace tessera::query {

bool IsKeyword(std::string_view word) {
  static constexpr std::array<std::string_view, 12> kWords = {
      "AND", "BETWEEN", "CONTAINS", "EXISTS", "FALSE", "IN",
      "IS",  "LIKE",    "NOT",      "NULL",   "OR",    "TRUE"};
  return std::any_of(kWords.begin(), kWords.end(), [&](std::string_view keyword) {
    return absl::EqualsIgnoreCase(base::Sv(keyword), base::Sv(word));
  });
}

}  // namespace tessera::query
