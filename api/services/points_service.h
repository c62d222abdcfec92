// tessera.v1.Points over a database. Threads: any.
#pragma once

#include <tessera/v1/points.grpc.pb.h>

#include "api/services/call.h"

namespace tessera::api {

class PointsService final : public v1::Points::Service {
 public:
  explicit PointsService(ServiceContext& context) : context_(context) {}

  grpc::Status Upsert(grpc::ServerContext* call, const v1::UpsertRequest* request,
                      v1::UpsertResponse* response) override;
  grpc::Status Delete(grpc::ServerContext* call, const v1::DeleteRequest* request,
                      v1::DeleteResponse* response) override;
  grpc::Status Get(grpc::ServerContext* call, const v1::GetRequest* request,
                   v1::GetResponse* response) override;
  grpc::Status SetPayload(grpc::ServerContext* call, const v1::SetPayloadRequest* request,
                          v1::SetPayloadResponse* response) override;
  grpc::Status Scroll(grpc::ServerContext* call, const v1::ScrollRequest* request,
                      v1::ScrollResponse* response) override;
  grpc::Status Count(grpc::ServerContext* call, const v1::CountRequest* request,
                     v1::CountResponse* response) override;

 private:
  ServiceContext& context_;
};

}  // namespace tessera::api
