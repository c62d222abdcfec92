// The four services of the protos as gRPC services. Their generated headers are included by one
// source file alone: they are most of what compiling this layer takes.
#pragma once

#include <memory>
#include <vector>

#include <grpcpp/impl/codegen/service_type.h>

#include "api/rpc/executor.h"
#include "api/rpc/unary_call.h"
#include "api/services/context.h"

namespace tessera::api {

// In the order of kServiceNames. All arguments outlive them; `ingests` runs what ingests send.
std::vector<std::unique_ptr<grpc::Service>> MakeServices(ServiceContext& context,
                                                         const CallPath& path, Executor& ingests);

inline constexpr const char* kServiceNames[] = {"tessera.v1.Collections", "tessera.v1.Points",
                                                "tessera.v1.Search", "tessera.v1.Ingest"};

}  // namespace tessera::api
