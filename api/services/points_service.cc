#include "api/services/points_service.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "api/convert.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

// Payloads can have a megabyte each, so a reply is put together from portions: this many points
// first, then as many as their mean size says will still fit.
constexpr size_t kFirstPortion = 16;
constexpr size_t kPortionMax = 1024;

// The points of a Get or Scroll reply, up to a number of bytes.
template <typename Response>
class ReplyPoints {
 public:
  ReplyPoints(const base::CollectionSchema& schema, uint64_t bytes_max, Response* response)
      : schema_(schema), bytes_max_(bytes_max), response_(response) {}

  // False when the point does not fit; the first one always does.
  bool Add(db::StoredPoint&& point) {
    v1::RetrievedPoint* added = response_->add_points();
    ToProto(schema_, std::move(point), added);
    bytes_ += added->ByteSizeLong();
    if (bytes_ <= bytes_max_ || response_->points_size() == 1) return true;
    response_->mutable_points()->RemoveLast();
    return false;
  }

  // How many points to ask for next, at least 1.
  size_t NextPortion(size_t wanted) const {
    size_t portion = kFirstPortion;
    if (const auto count = static_cast<uint64_t>(response_->points_size()); count > 0) {
      const uint64_t left = bytes_max_ - std::min(bytes_max_, bytes_);
      portion = std::clamp<size_t>(left / (bytes_ / count + 1), 1, kPortionMax);
    }
    return std::min(wanted, portion);
  }

 private:
  const base::CollectionSchema& schema_;
  const uint64_t bytes_max_;
  Response* const response_;
  uint64_t bytes_ = 0;
};

// What a reply of `count` points will take at most: as messages, before payloads are known.
uint64_t ReplyBytes(const base::CollectionSchema& schema, uint64_t count, bool with_vectors,
                    uint64_t bytes_max) {
  constexpr uint64_t kPointBytes = 256;
  return std::min(count * (kPointBytes + (with_vectors ? VectorBytes(schema) : 0)), bytes_max);
}

// At most `limit` points from `offset` on, and no more than fit into the reply.
struct PageRequest {
  std::optional<base::PointId> offset;
  uint32_t limit = 0;
  db::Projection with;
};
absl::Status FillPage(db::Collection& collection, PageRequest page, uint64_t bytes_max,
                      v1::ScrollResponse* response) {
  ReplyPoints reply(collection.schema(), bytes_max, response);
  while (page.limit > 0) {
    const auto portion = static_cast<uint32_t>(reply.NextPortion(page.limit));
    TESSERA_ASSIGN_OR_RETURN(db::ScrollPage part,
                             collection.Scroll(page.offset, portion, page.with));
    page.limit -= portion;
    page.offset = std::move(part.next_offset);
    for (db::StoredPoint& point : part.points) {
      const base::PointId id = point.id;
      if (reply.Add(std::move(point))) continue;
      ToProto(id, response->mutable_next_offset());
      return absl::OkStatus();
    }
    if (!page.offset.has_value()) return absl::OkStatus();
  }
  ToProto(*page.offset, response->mutable_next_offset());
  return absl::OkStatus();
}

}  // namespace

grpc::Status PointsService::Upsert(grpc::ServerContext* call, const v1::UpsertRequest* request,
                                   v1::UpsertResponse* response) {
  return Answer([&]() -> absl::Status {
    const Stopwatch watch;
    TESSERA_RETURN_IF_ERROR(CheckLive(*call));
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(request->collection()));
    TESSERA_ASSIGN_OR_RETURN(const db::Ack ack, FromProto(request->ack()));
    TESSERA_ASSIGN_OR_RETURN(
        const CallMemory::Lease lease,
        context_.memory.Take(PointsMemoryBytes(request->points(), request->batch()),
                             DeadlineOf(*call)));
    TESSERA_ASSIGN_OR_RETURN(
        std::vector<db::Point> points,
        PointsFromProto(collection->schema(), request->points(), request->batch()));
    if (points.empty()) return InvalidField("points", "the request holds no points");
    const absl::StatusOr<db::UpsertOutcome> outcome = collection->Upsert(std::move(points), ack);
    if (!outcome.ok()) {
      return BlameIfInvalid(outcome.status(), request->has_batch() ? "batch" : "points");
    }
    response->set_version(outcome->version);
    response->set_time(watch.Seconds());
    return absl::OkStatus();
  });
}

grpc::Status PointsService::Delete(grpc::ServerContext* call, const v1::DeleteRequest* request,
                                   v1::DeleteResponse* response) {
  return Answer([&]() -> absl::Status {
    const Stopwatch watch;
    TESSERA_RETURN_IF_ERROR(CheckLive(*call));
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(request->collection()));
    TESSERA_ASSIGN_OR_RETURN(const db::Ack ack, FromProto(request->ack()));
    TESSERA_ASSIGN_OR_RETURN(const std::vector<base::PointId> ids, FromProto(request->ids()));
    TESSERA_ASSIGN_OR_RETURN(const uint64_t deleted, collection->Delete(ids, ack));
    response->set_deleted(deleted);
    response->set_time(watch.Seconds());
    return absl::OkStatus();
  });
}

grpc::Status PointsService::Get(grpc::ServerContext* call, const v1::GetRequest* request,
                                v1::GetResponse* response) {
  return Answer([&]() -> absl::Status {
    const Stopwatch watch;
    TESSERA_RETURN_IF_ERROR(CheckLive(*call));
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(request->collection()));
    TESSERA_ASSIGN_OR_RETURN(const std::vector<base::PointId> ids, FromProto(request->ids()));
    TESSERA_ASSIGN_OR_RETURN(
        const CallMemory::Lease lease,
        context_.memory.Take(ReplyBytes(collection->schema(), ids.size(), request->with_vectors(),
                                        context_.reply_bytes_max),
                             DeadlineOf(*call)));
    const db::Projection with = {.payload = request->with_payload(),
                                 .vectors = request->with_vectors()};
    ReplyPoints reply(collection->schema(), context_.reply_bytes_max, response);
    std::span<const base::PointId> left = ids;
    while (!left.empty()) {
      const size_t portion = reply.NextPortion(left.size());
      TESSERA_ASSIGN_OR_RETURN(std::vector<db::StoredPoint> points,
                               collection->Get(left.first(portion), with));
      left = left.subspan(portion);
      for (db::StoredPoint& point : points) {
        if (reply.Add(std::move(point))) continue;
        return InvalidField(
            "ids", absl::StrCat("the points of ", ids.size(), " ids have over ",
                                context_.reply_bytes_max, " bytes, the most of one reply"));
      }
    }
    response->set_time(watch.Seconds());
    return absl::OkStatus();
  });
}

grpc::Status PointsService::SetPayload(grpc::ServerContext* call,
                                       const v1::SetPayloadRequest* request,
                                       v1::SetPayloadResponse* response) {
  return Answer([&]() -> absl::Status {
    const Stopwatch watch;
    TESSERA_RETURN_IF_ERROR(CheckLive(*call));
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(request->collection()));
    TESSERA_ASSIGN_OR_RETURN(const db::Ack ack, FromProto(request->ack()));
    TESSERA_ASSIGN_OR_RETURN(const std::vector<base::PointId> ids, FromProto(request->ids()));
    absl::StatusOr<base::Value> payload = FromPayloadText(request->payload());
    if (!payload.ok()) return BlameField(payload.status(), "payload");
    if (payload->object() == nullptr) return InvalidField("payload", "must be a JSON object");
    TESSERA_ASSIGN_OR_RETURN(const uint64_t updated, collection->SetPayload(ids, *payload, ack));
    response->set_updated(updated);
    response->set_time(watch.Seconds());
    return absl::OkStatus();
  });
}

grpc::Status PointsService::Scroll(grpc::ServerContext* call, const v1::ScrollRequest* request,
                                   v1::ScrollResponse* response) {
  return Answer([&]() -> absl::Status {
    const Stopwatch watch;
    TESSERA_RETURN_IF_ERROR(CheckLive(*call));
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(request->collection()));
    std::optional<base::PointId> offset;
    if (request->has_offset()) {
      absl::StatusOr<base::PointId> id = FromProto(request->offset());
      if (!id.ok()) return BlameField(id.status(), "offset");
      offset = *std::move(id);
    }
    const uint32_t limit = request->limit() == 0 ? 10 : request->limit();
    if (limit > base::kLimitMax) {
      return InvalidField("limit", absl::StrCat("is ", limit, ", must be 1 .. ", base::kLimitMax));
    }
    TESSERA_ASSIGN_OR_RETURN(
        const CallMemory::Lease lease,
        context_.memory.Take(ReplyBytes(collection->schema(), limit, request->with_vectors(),
                                        context_.reply_bytes_max),
                             DeadlineOf(*call)));
    TESSERA_RETURN_IF_ERROR(
        FillPage(*collection,
                 {.offset = std::move(offset),
                  .limit = limit,
                  .with = {.payload = request->with_payload(), .vectors = request->with_vectors()}},
                 context_.reply_bytes_max, response));
    response->set_time(watch.Seconds());
    return absl::OkStatus();
  });
}

grpc::Status PointsService::Count(grpc::ServerContext* call, const v1::CountRequest* request,
                                  v1::CountResponse* response) {
  return Answer([&]() -> absl::Status {
    const Stopwatch watch;
    TESSERA_RETURN_IF_ERROR(CheckLive(*call));
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(request->collection()));
    TESSERA_ASSIGN_OR_RETURN(const uint64_t count, collection->Count());
    response->set_count(count);
    response->set_time(watch.Seconds());
    return absl::OkStatus();
  });
}

}  // namespace tessera::api
