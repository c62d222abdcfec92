// absl::Status <-> gRPC status, one to one, with google.rpc error details.
//
// Threads: free functions without shared state.
#pragma once

#include <string_view>

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace tessera::api {

// Longer messages are cut: a gRPC trailer has room for 8 KiB in all.
inline constexpr size_t kStatusMessageBytesMax = 2048;

// kInvalidArgument that blames one field of the request, as "batch.vectors[0].data".
absl::Status InvalidField(std::string_view field, std::string_view message);

// `status` blaming `field` as well; OK stays OK.
absl::Status BlameField(absl::Status status, std::string_view field);

// BlameField for kInvalidArgument; other errors are nobody's field.
absl::Status BlameIfInvalid(absl::Status status, std::string_view field);

// The same error with `prefix` before its message.
absl::Status Prefixed(std::string_view prefix, const absl::Status& status);

// The details are a google.rpc.Status with an ErrorInfo (reason: the code's name, domain "tessera",
// metadata "retriable") and, after InvalidField or BlameField, a BadRequest.
grpc::Status ToGrpc(const absl::Status& status);

// Code and message.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace tessera::api
