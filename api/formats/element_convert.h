// Conversion of vector elements between the types of a file, a request and a field.
//
// Threads: free functions without shared state.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

#include "base/types.h"

namespace tessera::api {

enum class Conversion {
  kExact,  // every value must come out as it went in
  kRound,  // to the nearest value of the target; out of range is still an error
};

// Appends `elements` (type `from`, little-endian) to `*out` as type `to`.
//
// Pre:    elements.size() is a multiple of ElementBytes(from).
// Errors: kInvalidArgument naming the position within `elements` (counted in elements) and the
//         value that `to` cannot hold; `*out` is then as it was. NaN and infinities pass between
//         f32 and f16 and are refused by i8 and u8.
// Cost:   O(elements); a copy when the types are equal.
absl::Status ConvertElements(std::string_view elements, base::ElementType from,
                             base::ElementType to, Conversion conversion, std::string* out);

// `elements` of type `from` as floats; every type fits. Same precondition.
std::vector<float> ToFloats(std::string_view elements, base::ElementType from);

// Position of the first NaN or infinity, or `elements.size() / ElementBytes(type)` if there is
// none.
size_t FirstNotFinite(std::string_view elements, base::ElementType type);

}  // namespace tessera::api
