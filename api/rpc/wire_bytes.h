// gRPC's byte buffers and what is read from and written to them.
//
// Threads: free functions.
#pragma once

#include <grpc/support/time.h>
#include <grpcpp/support/byte_buffer.h>

#include <google/protobuf/message.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "api/rpc/reply.h"
#include "api/rpc/wire_scan.h"
#include "base/deadline.h"

namespace tessera::api {

// Errors: as ScanWire.
absl::StatusOr<WireCost> ScanBuffer(const google::protobuf::Descriptor* type,
                                    const grpc::ByteBuffer& buffer);
// Pre: ScanBuffer found nothing wrong. Errors: kInvalidArgument (what a scan lets pass).
absl::Status ParseBuffer(const grpc::ByteBuffer& buffer, google::protobuf::Message* message);
// Takes the reply's chunks over without copying them.
grpc::ByteBuffer ToBuffer(Reply&& reply);

// A deadline as gRPC keeps it. On whatever clock it is, what counts is how long it is from now.
base::Deadline FromRaw(gpr_timespec deadline);

// A request of more than `limit` bytes. Errors: kResourceExhausted with the limit.
absl::Status CheckRequestBytes(size_t bytes, uint64_t limit);

}  // namespace tessera::api
