// Wrong inputs made of a good one, the same ones in every run.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace tessera::fuzz {

// Calls `visit` with `good` cut off at up to 300 places, with each of its first 300 bytes flipped,
// with hostile numbers (0, 2^31 - 1, 2^31, 2^32 - 1, 2^63, an infinity, a NaN) over its first 64
// bytes, in both byte orders, and with 300 random edits (flips, holes, repeated pieces), all of
// them plain; every tenth gzipped as well, and that gzip stream damaged.
void ForEachMutation(std::string_view good, const std::function<void(std::string_view)>& visit);

}  // namespace tessera::fuzz
