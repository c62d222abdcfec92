// The units of a chunk -> its rows, and the values of a column.
//
// Threads: free functions without shared state.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "query/filter/field_value.h"

namespace tessera::query {

using RowVisitor = absl::FunctionRef<absl::Status(uint64_t position, std::string_view id_key,
                                                  std::string_view record)>;

// Each row as it was added, bit for bit, in order. `units`: all of the chunk's, in any order.
// Errors: kDataLoss, with some rows visited perhaps; the visitor's.
// Cost: O(values log values), and memory for all records.
absl::Status DecodeChunk(const std::vector<std::string_view>& units, RowVisitor visit);

// How many of the rows have each value of a path, the values by Compare. `words`: positions, a word
// for each of the chunk's blocks. Texts are valid during the call.
// Errors: kDataLoss.
absl::Status ForEachValue(std::string_view rows_unit, std::string_view path_unit,
                          const uint64_t* words,
                          absl::FunctionRef<void(const FieldValue& value, uint32_t rows)> visit);

}  // namespace tessera::query
