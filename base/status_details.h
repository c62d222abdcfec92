// What a status says beside code and text: the field of the request at fault, the limit that was
// passed, and that trying again is in vain.
//
// The layer that finds a fault names it, in the words of its own interface; a layer above may blame
// another field, as the fault is called there.
//
// Threads: free functions without shared state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace tessera::base {

// kInvalidArgument "FIELD: MESSAGE" that blames the field, as "batch.vectors[0].data".
absl::Status InvalidField(std::string_view field, std::string_view message);
// `status` blaming `field`, whatever it blamed before; OK stays OK.
absl::Status BlameField(absl::Status status, std::string_view field);
std::optional<std::string> BlamedField(const absl::Status& status);

// `status` for what has `actual` of something of which `limit` are allowed. It will never fit.
absl::Status OverLimit(absl::Status status, uint64_t actual, uint64_t limit);
struct PassedLimit {
  uint64_t actual = 0;
  uint64_t limit = 0;
};
std::optional<PassedLimit> LimitOf(const absl::Status& status);

// The same error with `prefix` before its message; details stay.
absl::Status Prefixed(std::string_view prefix, const absl::Status& status);

}  // namespace tessera::base
