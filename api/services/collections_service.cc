#include "api/services/collections_service.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"

#include "api/convert.h"
#include "api/process_memory.h"
#include "api/status.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

constexpr uint64_t kRowBytes = 64;

void FillMemory(const db::MemoryUsage& usage, v1::MemoryUsage* out) {
  out->set_limit_bytes(usage.limit_bytes);
  out->set_used_bytes(usage.used_bytes);
  out->set_resident_bytes(AnonymousMemoryBytes());
  for (const auto& [name, bytes] : usage.components) (*out->mutable_components())[name] = bytes;
}

void FillLimits(const ServiceContext& context, v1::ServerLimits* out) {
  out->set_request_bytes_max(context.request_bytes_max);
  out->set_reply_bytes_max(context.reply_bytes_max);
  out->set_reply_bytes_default(ReplyBytesMax(context, 0));
  out->set_call_memory_bytes(context.memory.bytes_max());
}

absl::Status Create(ServiceContext& context, const v1::CreateCollectionRequest& request) {
  TESSERA_ASSIGN_OR_RETURN(const base::CollectionSchema schema, FromProto(request.schema()));
  return BlameIfInvalid(context.database.CreateCollection(schema), "schema");
}

// Its ingests are told first: the drop waits for a load, and a load may wait for its client.
absl::Status Drop(ServiceContext& context, const v1::DropCollectionRequest& request) {
  const std::string& name = request.collection();
  TESSERA_RETURN_IF_ERROR(context.database.GetCollection(name).status());
  context.streams.EndOf(
      name, absl::NotFoundError(absl::StrCat("collection \"", name, "\" was dropped")));
  return context.database.DropCollection(name);
}

absl::Status List(ServiceContext& context, Reply* reply) {
  for (const base::CollectionSchema& schema : context.database.ListCollections()) {
    v1::CollectionSchema out;
    ToProto(schema, &out);
    reply->AddElement(v1::ListCollectionsResponse::kCollectionsFieldNumber, out);
  }
  v1::ListCollectionsResponse rest;
  FillMemory(context.database.Memory(), rest.mutable_memory());
  FillLimits(context, rest.mutable_limits());
  reply->AddFields(rest);
  return absl::OkStatus();
}

absl::Status Describe(ServiceContext& context, const v1::DescribeCollectionRequest& request,
                      Reply* reply) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                           context.database.GetCollection(request.collection()));
  TESSERA_ASSIGN_OR_RETURN(const db::CollectionStats stats, collection->Stats());
  v1::DescribeCollectionResponse response;
  ToProto(stats, &response);
  FillMemory(context.database.Memory(), response.mutable_memory());
  FillLimits(context, response.mutable_limits());
  reply->AddFields(response);
  return absl::OkStatus();
}

Method MakeDrop(ServiceContext& context) {
  Method method = MakeMethod<v1::DropCollectionRequest>(
      Lane::kWrite, kRowBytes,
      [&context](Call&, const auto& request, Reply*) { return Drop(context, request); });
  method.apart = true;  // it ends what the writes of the collection may wait for
  return method;
}

}  // namespace

CollectionsMethods::CollectionsMethods(ServiceContext& context)
    : create(MakeMethod<v1::CreateCollectionRequest>(
          Lane::kWrite, kRowBytes, [&context](Call&, const auto& request, Reply*) {
            return Create(context, request);
          })),
      drop(MakeDrop(context)),
      list(MakeMethod<v1::ListCollectionsRequest>(
          Lane::kRead, kRowBytes,
          [&context](Call&, const auto&, Reply* reply) { return List(context, reply); })),
      describe(MakeMethod<v1::DescribeCollectionRequest>(
          Lane::kRead, kRowBytes, [&context](Call&, const auto& request, Reply* reply) {
            return Describe(context, request, reply);
          })) {}

}  // namespace tessera::api
