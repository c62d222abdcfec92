// The values of a path that has no unit of its own.
//
// Threads: free functions without shared state.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "query/filter/field_value.h"

namespace tessera::query {

// As ForEachValue (decode_chunk.h), of the unit of the rest; a value comes once for each row.
absl::Status ForEachRestValue(std::string_view rows_unit, std::string_view rest_unit,
                              std::string_view path_key, const uint64_t* words,
                              absl::FunctionRef<void(const FieldValue& value, uint32_t rows)> visit);

}  // namespace tessera::query
