// Vectors as they are sent and stored: dim elements of one type, little-endian.
//
// Threads: free functions without shared state.
#pragma once

#include <span>
#include <string_view>

#include "base/types.h"

namespace tessera::base {

// The components of `bytes`, an element vector of `type`, as f32 in out [dim].
// Pre: bytes.size() == out.size() * ElementBytes(type).
void DecodeElements(ElementType type, std::string_view bytes, std::span<float> out);

}  // namespace tessera::base
