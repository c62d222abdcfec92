// tessera.v1.Search over a database. Threads: any.
#pragma once

#include <tessera/v1/search.grpc.pb.h>

#include "api/services/call.h"

namespace tessera::api {

// Hits of a whole batch: keeps its reply to tens of megabytes.
inline constexpr uint64_t kBatchHitsMax = 1'000'000;

class SearchService final : public v1::Search::Service {
 public:
  explicit SearchService(ServiceContext& context) : context_(context) {}

  grpc::Status Search(grpc::ServerContext* call, const v1::SearchRequest* request,
                      v1::SearchResponse* response) override;
  grpc::Status SearchBatch(grpc::ServerContext* call, const v1::SearchBatchRequest* request,
                           v1::SearchBatchResponse* response) override;

 private:
  ServiceContext& context_;
};

}  // namespace tessera::api
