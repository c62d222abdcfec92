// Paths of filters as requests write them: names joined by '.', odd ones in backquotes.
//
// Threads: free functions without shared state.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tessera::api {

inline constexpr size_t kFilterPathDepthMax = 32;  // names of one path

// `text` with each name in backquotes and escaped: what an expression takes, keywords as well. A
// name without backquotes is all up to the next '.', whatever is in it.
//
// Errors: kInvalidArgument: empty, an empty name, an open backquote, over kFilterPathDepthMax
// names.
absl::StatusOr<std::string> QuotePath(std::string_view text);

// `text` in quotes, so that an expression reads it back. Pre: `quote` is " ' or `.
std::string QuoteText(std::string_view text, char quote);

}  // namespace tessera::api
