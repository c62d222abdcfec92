// The filter of a request as the engine takes it: one expression with parameters.
//
// A tree is written as an expression, its paths in backquotes and its constants as parameters, so
// that one parser and one meaning serve both forms. What a tree can have wrong is found here, where
// the field at fault has a name; a position in the written text would tell its sender nothing.
//
// Threads: free functions without shared state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include <tessera/v1/filter.pb.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "db/database.h"

namespace tessera::api {

inline constexpr size_t kFilterDepthMax = 32;           // levels
inline constexpr size_t kFilterConditionsMax = 1024;    // of a tree, in all
inline constexpr size_t kFilterConstantsMax = 100'000;  // of one list
inline constexpr size_t kFilterBytesMax = 4 << 20;      // of an expression
inline constexpr size_t kFilterParametersMax = 1024;

// `field` is the filter's name in its request. Errors: kInvalidArgument naming a field under it:
// no or an empty form, parameters beside a tree, a limit, a wrong tree. An expression is not read.
// Cost: O(bytes).
absl::StatusOr<db::FilterText> FilterFromProto(const v1::Filter& filter, std::string_view field);

// As an expression with parameters.
void ToProto(const db::FilterText& filter, v1::Filter* out);

// What a filter takes with its message, while it is written and parsed: no less.
// Cost: O(bytes), without allocation.
uint64_t FilterMemoryBytes(const v1::Filter& filter);

}  // namespace tessera::api
