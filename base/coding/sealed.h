// Sealed bytes: what is stored whole and read whole, with a checksum behind it.
//
//   body | u32 CRC-32C of the body
//
// Threads: free functions without shared state.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tessera::base {

// Appends the checksum of what is there.
void Seal(std::string* bytes);

// The body of sealed bytes, a view into them. `what` names them in errors, as "head index".
// Errors: kDataLoss: too short, or the checksum is not that of the body.
absl::StatusOr<std::string_view> Unseal(std::string_view what, std::string_view bytes);

}  // namespace tessera::base
