#include "api/services/points_service.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "api/convert.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

// Fills `points` of a Get or Scroll reply.
template <typename Response>
void FillPoints(const base::CollectionSchema& schema, std::vector<db::StoredPoint>&& points,
                Response* response) {
  for (db::StoredPoint& point : points) {
    ToProto(schema, std::move(point), response->add_points());
  }
}

}  // namespace

grpc::Status PointsService::Upsert(grpc::ServerContext* /*call*/, const v1::UpsertRequest* request,
                                   v1::UpsertResponse* response) {
  return Answer([&]() -> absl::Status {
    const Stopwatch watch;
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(request->collection()));
    TESSERA_ASSIGN_OR_RETURN(
        std::vector<db::Point> points,
        PointsFromProto(collection->schema(), request->points(), request->batch()));
    if (points.empty()) return InvalidField("points", "the request holds no points");
    TESSERA_ASSIGN_OR_RETURN(const uint64_t version,
                             collection->Upsert(std::move(points), FromProto(request->ack())));
    response->set_version(version);
    response->set_time(watch.Seconds());
    return absl::OkStatus();
  });
}

grpc::Status PointsService::Delete(grpc::ServerContext* /*call*/, const v1::DeleteRequest* request,
                                   v1::DeleteResponse* response) {
  return Answer([&]() -> absl::Status {
    const Stopwatch watch;
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(request->collection()));
    TESSERA_ASSIGN_OR_RETURN(const std::vector<base::PointId> ids, FromProto(request->ids()));
    TESSERA_ASSIGN_OR_RETURN(const uint64_t deleted,
                             collection->Delete(ids, FromProto(request->ack())));
    response->set_deleted(deleted);
    response->set_time(watch.Seconds());
    return absl::OkStatus();
  });
}

grpc::Status PointsService::Get(grpc::ServerContext* /*call*/, const v1::GetRequest* request,
                                v1::GetResponse* response) {
  return Answer([&]() -> absl::Status {
    const Stopwatch watch;
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(request->collection()));
    TESSERA_ASSIGN_OR_RETURN(const std::vector<base::PointId> ids, FromProto(request->ids()));
    TESSERA_ASSIGN_OR_RETURN(std::vector<db::StoredPoint> points,
                             collection->Get(ids, {.payload = request->with_payload(),
                                                   .vectors = request->with_vectors()}));
    FillPoints(collection->schema(), std::move(points), response);
    response->set_time(watch.Seconds());
    return absl::OkStatus();
  });
}

grpc::Status PointsService::SetPayload(grpc::ServerContext* /*call*/,
                                       const v1::SetPayloadRequest* request,
                                       v1::SetPayloadResponse* response) {
  return Answer([&]() -> absl::Status {
    const Stopwatch watch;
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(request->collection()));
    TESSERA_ASSIGN_OR_RETURN(const std::vector<base::PointId> ids, FromProto(request->ids()));
    absl::StatusOr<base::Value> payload = FromPayloadText(request->payload());
    if (!payload.ok()) return BlameField(payload.status(), "payload");
    if (payload->object() == nullptr) return InvalidField("payload", "must be a JSON object");
    TESSERA_ASSIGN_OR_RETURN(const uint64_t version,
                             collection->SetPayload(ids, *payload, FromProto(request->ack())));
    response->set_version(version);
    response->set_time(watch.Seconds());
    return absl::OkStatus();
  });
}

grpc::Status PointsService::Scroll(grpc::ServerContext* /*call*/, const v1::ScrollRequest* request,
                                   v1::ScrollResponse* response) {
  return Answer([&]() -> absl::Status {
    const Stopwatch watch;
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(request->collection()));
    std::optional<base::PointId> offset;
    if (request->has_offset()) {
      absl::StatusOr<base::PointId> id = FromProto(request->offset());
      if (!id.ok()) return BlameField(id.status(), "offset");
      offset = *std::move(id);
    }
    TESSERA_ASSIGN_OR_RETURN(
        db::ScrollPage page,
        collection->Scroll(
            offset, request->limit() == 0 ? 10 : request->limit(),
            {.payload = request->with_payload(), .vectors = request->with_vectors()}));
    FillPoints(collection->schema(), std::move(page.points), response);
    if (page.next_offset.has_value()) ToProto(*page.next_offset, response->mutable_next_offset());
    response->set_time(watch.Seconds());
    return absl::OkStatus();
  });
}

grpc::Status PointsService::Count(grpc::ServerContext* /*call*/, const v1::CountRequest* request,
                                  v1::CountResponse* response) {
  return Answer([&]() -> absl::Status {
    const Stopwatch watch;
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(request->collection()));
    TESSERA_ASSIGN_OR_RETURN(const uint64_t count, collection->Count());
    response->set_count(count);
    response->set_time(watch.Seconds());
    return absl::OkStatus();
  });
}

}  // namespace tessera::api
