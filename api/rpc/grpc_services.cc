#include "api/rpc/grpc_services.h"

#include <tessera/v1/collections.grpc.pb.h>
#include <tessera/v1/ingest.grpc.pb.h>
#include <tessera/v1/points.grpc.pb.h>
#include <tessera/v1/search.grpc.pb.h>

#include "api/rpc/ingest_reactor.h"
#include "api/services/collections_service.h"
#include "api/services/points_service.h"
#include "api/services/search_service.h"

namespace tessera::api {
namespace {

using grpc::ByteBuffer;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

using CollectionsBase = v1::Collections::WithRawCallbackMethod_Create<
    v1::Collections::WithRawCallbackMethod_Drop<v1::Collections::WithRawCallbackMethod_List<
        v1::Collections::WithRawCallbackMethod_Describe<v1::Collections::Service>>>>;

class CollectionsService final : public CollectionsBase {
 public:
  CollectionsService(ServiceContext& context, const CallPath& path)
      : methods_(context), path_(path) {}

  ServerUnaryReactor* Create(CallbackServerContext* call, const ByteBuffer* in,
                             ByteBuffer* out) override {
    return StartUnaryCall(path_, methods_.create, call, in, out);
  }
  ServerUnaryReactor* Drop(CallbackServerContext* call, const ByteBuffer* in,
                           ByteBuffer* out) override {
    return StartUnaryCall(path_, methods_.drop, call, in, out);
  }
  ServerUnaryReactor* List(CallbackServerContext* call, const ByteBuffer* in,
                           ByteBuffer* out) override {
    return StartUnaryCall(path_, methods_.list, call, in, out);
  }
  ServerUnaryReactor* Describe(CallbackServerContext* call, const ByteBuffer* in,
                               ByteBuffer* out) override {
    return StartUnaryCall(path_, methods_.describe, call, in, out);
  }

 private:
  const CollectionsMethods methods_;
  const CallPath& path_;
};

using PointsBase =
    v1::Points::WithRawCallbackMethod_Upsert<v1::Points::WithRawCallbackMethod_Delete<
        v1::Points::WithRawCallbackMethod_Get<v1::Points::WithRawCallbackMethod_SetPayload<
            v1::Points::WithRawCallbackMethod_Scroll<v1::Points::WithRawCallbackMethod_Count<
                v1::Points::WithRawCallbackMethod_Facet<v1::Points::Service>>>>>>>;

class PointsService final : public PointsBase {
 public:
  PointsService(ServiceContext& context, const CallPath& path) : methods_(context), path_(path) {}

  ServerUnaryReactor* Upsert(CallbackServerContext* call, const ByteBuffer* in,
                             ByteBuffer* out) override {
    return StartUnaryCall(path_, methods_.upsert, call, in, out);
  }
  ServerUnaryReactor* Delete(CallbackServerContext* call, const ByteBuffer* in,
                             ByteBuffer* out) override {
    return StartUnaryCall(path_, methods_.remove, call, in, out);
  }
  ServerUnaryReactor* Get(CallbackServerContext* call, const ByteBuffer* in,
                          ByteBuffer* out) override {
    return StartUnaryCall(path_, methods_.get, call, in, out);
  }
  ServerUnaryReactor* SetPayload(CallbackServerContext* call, const ByteBuffer* in,
                                 ByteBuffer* out) override {
    return StartUnaryCall(path_, methods_.set_payload, call, in, out);
  }
  ServerUnaryReactor* Scroll(CallbackServerContext* call, const ByteBuffer* in,
                             ByteBuffer* out) override {
    return StartUnaryCall(path_, methods_.scroll, call, in, out);
  }
  ServerUnaryReactor* Count(CallbackServerContext* call, const ByteBuffer* in,
                            ByteBuffer* out) override {
    return StartUnaryCall(path_, methods_.count, call, in, out);
  }
  ServerUnaryReactor* Facet(CallbackServerContext* call, const ByteBuffer* in,
                            ByteBuffer* out) override {
    return StartUnaryCall(path_, methods_.facet, call, in, out);
  }

 private:
  const PointsMethods methods_;
  const CallPath& path_;
};

using SearchBase = v1::Search::WithRawCallbackMethod_Search<
    v1::Search::WithRawCallbackMethod_SearchBatch<v1::Search::Service>>;

class SearchService final : public SearchBase {
 public:
  SearchService(ServiceContext& context, const CallPath& path) : methods_(context), path_(path) {}

  ServerUnaryReactor* Search(CallbackServerContext* call, const ByteBuffer* in,
                             ByteBuffer* out) override {
    return StartUnaryCall(path_, methods_.search, call, in, out);
  }
  ServerUnaryReactor* SearchBatch(CallbackServerContext* call, const ByteBuffer* in,
                                  ByteBuffer* out) override {
    return StartUnaryCall(path_, methods_.search_batch, call, in, out);
  }

 private:
  const SearchMethods methods_;
  const CallPath& path_;
};

class IngestService final : public v1::Ingest::WithRawCallbackMethod_Ingest<v1::Ingest::Service> {
 public:
  IngestService(ServiceContext& context, Executor& executor)
      : context_(context), executor_(executor) {}

  grpc::ServerBidiReactor<ByteBuffer, ByteBuffer>* Ingest(CallbackServerContext* call) override {
    return StartIngest(context_, executor_, call);
  }

 private:
  ServiceContext& context_;
  Executor& executor_;
};

}  // namespace

std::vector<std::unique_ptr<grpc::Service>> MakeServices(ServiceContext& context,
                                                         const CallPath& path, Executor& ingests) {
  std::vector<std::unique_ptr<grpc::Service>> services;
  services.push_back(std::make_unique<CollectionsService>(context, path));
  services.push_back(std::make_unique<PointsService>(context, path));
  services.push_back(std::make_unique<SearchService>(context, path));
  services.push_back(std::make_unique<IngestService>(context, ingests));
  return services;
}

}  // namespace tessera::api
