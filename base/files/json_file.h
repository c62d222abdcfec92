// JSON out of files, whose integers may be wider than those of payloads.
//
// Threads: free functions without shared state.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "base/value.h"

namespace tessera::base {

// As ParseJson, but whole numbers of 2^63 .. 2^64 - 1, which no Value holds, become text instead of
// an error. `*large_keys` gets the keys of the outermost object whose own values they were.
absl::StatusOr<Value> ParseJsonKeepingLarge(std::string_view text,
                                            std::set<std::string, std::less<>>* large_keys);

}  // namespace tessera::base
