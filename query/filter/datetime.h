// RFC 3339 datetimes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "query/filter/filter.h"

namespace tessera::query {

// YYYY-MM-DD, then optionally T (or t, or a space), hh:mm:ss, a fraction of up to 9 digits of which
// 6 count, and Z (or z) or +hh:mm or -hh:mm. Without a zone it is UTC; without a time it is
// midnight. Years 0001 .. 9999; second 60 only as a leap second, taken as the next minute.
// Nothing for any other text.
std::optional<Datetime> ParseDatetime(std::string_view text);

// 2024-01-31T12:34:56.789Z; no fraction when it is zero.
std::string FormatDatetime(Datetime datetime);

}  // namespace tessera::query
