#include "api/services/collections_service.h"

#include "api/convert.h"
#include "api/process_memory.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

void FillMemory(const db::MemoryUsage& usage, v1::MemoryUsage* out) {
  out->set_limit_bytes(usage.limit_bytes);
  out->set_used_bytes(usage.used_bytes);
  out->set_resident_bytes(AnonymousMemoryBytes());
  for (const auto& [name, bytes] : usage.components) (*out->mutable_components())[name] = bytes;
}

}  // namespace

grpc::Status CollectionsService::Create(grpc::ServerContext* /*call*/,
                                        const v1::CreateCollectionRequest* request,
                                        v1::CreateCollectionResponse* /*response*/) {
  return Answer([&]() -> absl::Status {
    TESSERA_ASSIGN_OR_RETURN(const base::CollectionSchema schema, FromProto(request->schema()));
    return BlameIfInvalid(context_.database.CreateCollection(schema), "schema");
  });
}

grpc::Status CollectionsService::Drop(grpc::ServerContext* /*call*/,
                                      const v1::DropCollectionRequest* request,
                                      v1::DropCollectionResponse* /*response*/) {
  return Answer([&] { return context_.database.DropCollection(request->collection()); });
}

grpc::Status CollectionsService::List(grpc::ServerContext* /*call*/,
                                      const v1::ListCollectionsRequest* /*request*/,
                                      v1::ListCollectionsResponse* response) {
  return Answer([&] {
    for (const base::CollectionSchema& schema : context_.database.ListCollections()) {
      ToProto(schema, response->add_collections());
    }
    FillMemory(context_.database.Memory(), response->mutable_memory());
    return absl::OkStatus();
  });
}

grpc::Status CollectionsService::Describe(grpc::ServerContext* /*call*/,
                                          const v1::DescribeCollectionRequest* request,
                                          v1::DescribeCollectionResponse* response) {
  return Answer([&]() -> absl::Status {
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(request->collection()));
    TESSERA_ASSIGN_OR_RETURN(const db::CollectionStats stats, collection->Stats());
    ToProto(stats, response);
    FillMemory(context_.database.Memory(), response->mutable_memory());
    return absl::OkStatus();
  });
}

}  // namespace tessera::api
