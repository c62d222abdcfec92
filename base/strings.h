// The bridge between the standard's string_view, which our interfaces use, and Abseil's.
//
// Threads: free functions without shared state.
#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

namespace tessera::base {

// For arguments of absl::StrCat and its kin; the two types are distinct in Debian 12's Abseil.
inline absl::string_view Sv(std::string_view text) {
  return {text.data(), text.size()};
}
inline std::string_view StdSv(absl::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace tessera::base
