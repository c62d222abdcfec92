// Constants of filters <-> the engine's values.
//
// Threads: free functions without shared state.
#pragma once

#include <string>

#include <tessera/v1/filter.pb.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/value.h"

namespace tessera::api {

// A boolean, number or text. Errors: kInvalidArgument naming `field`: another kind, not finite.
absl::StatusOr<base::Value> ScalarFromProto(const v1::Value& value, const std::string& field);

// A scalar, or a list of scalars. Errors: as ScalarFromProto; over kFilterConstantsMax.
absl::StatusOr<base::Value> ParameterFromProto(const v1::Value& value, const std::string& field);

// The item `i` of `list`, whose values are called `field`; its own name is made for an error alone.
absl::Status ListItemFromProto(const v1::ValueList& list, int i, const std::string& field,
                               base::Value* out);

// kInvalidArgument naming `field` if a list has more constants than it may.
absl::Status CheckConstants(int count, const std::string& field);

// Of null and objects, which are no constants, nothing is set.
void ToProto(const base::Value& value, v1::Value* out);

// Errors: kInvalidArgument naming `field` for a text that is no datetime of RFC 3339.
absl::Status CheckDatetime(const std::string& text, const std::string& field);

}  // namespace tessera::api
