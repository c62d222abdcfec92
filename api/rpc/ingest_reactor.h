// The gRPC side of an ingest: reads when the session asks, writes what it tells, watches over silence.
#pragma once

#include <grpcpp/impl/codegen/server_callback.h>
#include <grpcpp/support/byte_buffer.h>

#include "api/rpc/executor.h"
#include "api/services/context.h"

namespace tessera::api {

// For the raw callback method. `context` and `executor`, where messages are handled, outlive it.
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartIngest(
    ServiceContext& context, Executor& executor, grpc::CallbackServerContext* call);

}  // namespace tessera::api
