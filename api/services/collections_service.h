// tessera.v1.Collections over a database. Threads: any.
#pragma once

#include <tessera/v1/collections.grpc.pb.h>

#include "api/services/call.h"

namespace tessera::api {

class CollectionsService final : public v1::Collections::Service {
 public:
  explicit CollectionsService(ServiceContext& context) : context_(context) {}

  grpc::Status Create(grpc::ServerContext* call, const v1::CreateCollectionRequest* request,
                      v1::CreateCollectionResponse* response) override;
  grpc::Status Drop(grpc::ServerContext* call, const v1::DropCollectionRequest* request,
                    v1::DropCollectionResponse* response) override;
  grpc::Status List(grpc::ServerContext* call, const v1::ListCollectionsRequest* request,
                    v1::ListCollectionsResponse* response) override;
  grpc::Status Describe(grpc::ServerContext* call, const v1::DescribeCollectionRequest* request,
                        v1::DescribeCollectionResponse* response) override;

 private:
  ServiceContext& context_;
};

}  // namespace tessera::api
