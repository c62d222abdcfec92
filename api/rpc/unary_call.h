// The one way every unary call takes: it is admitted, its bytes are looked through, memory is leased
// for what parsing and handling it will take, it is parsed, handled and answered.
//
// What is slow runs on an executor; gRPC's own threads only hand over. A call that waits for memory
// holds no thread.
#pragma once

#include <grpcpp/impl/codegen/server_callback.h>
#include <grpcpp/support/byte_buffer.h>

#include "absl/time/time.h"

#include "api/call_memory.h"
#include "api/rpc/call.h"
#include "api/rpc/executor.h"
#include "api/rpc/timers.h"

namespace tessera::api {

struct CallPath {
  Executor& reads;
  Executor& writes;
  CallMemory& memory;
  Timers& timers;
  uint64_t request_bytes_max = 0;
  // A client that does not take its answer for so long is cut off: the answer holds memory.
  absl::Duration answer_timeout = absl::Minutes(2);
};

// For a raw callback method. `method` and what `path` refers to outlive the call.
grpc::ServerUnaryReactor* StartUnaryCall(const CallPath& path, const Method& method,
                                         grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response);

}  // namespace tessera::api
