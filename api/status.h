// absl::Status <-> gRPC status, one to one, with google.rpc error details.
//
// Threads: free functions without shared state.
#pragma once

#include <string_view>

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

#include "base/status_details.h"

namespace tessera::api {

using base::BlameField;
using base::InvalidField;
using base::Prefixed;

// Longer messages are cut: a gRPC trailer has room for 8 KiB in all.
inline constexpr size_t kStatusMessageBytesMax = 2048;

// BlameField for kInvalidArgument; other errors, and those that blame a field already, stay.
absl::Status BlameIfInvalid(absl::Status status, std::string_view field);

// The details are a google.rpc.Status with an ErrorInfo (reason: the code's name, domain "tessera",
// metadata "retriable", and "limit" and "actual" after base::OverLimit) and, after
// base::BlameField, a BadRequest.
grpc::Status ToGrpc(const absl::Status& status);

// Code and message.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace tessera::api
