// String ids where a client says that it is a string.
//
// One text names one id: text that reads as a number or a UUID (base::PointId::Parse) is that
// number or UUID and never a string id. Command lines, CSV and files of ids have text alone and
// could not say which of 7 and "7" they mean.
//
// Threads: free functions without shared state.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"

#include "base/point_id.h"

namespace tessera::base {

// Errors: kInvalidArgument: empty, longer than kPointIdStringBytesMax, not UTF-8, or the text of a
// number or a UUID, saying so.
absl::StatusOr<PointId> StringId(std::string_view text);

}  // namespace tessera::base
