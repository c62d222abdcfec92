#include "api/services/points_service.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "api/convert.h"
#include "api/status.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

// A point in the engine's form and write, without its vectors and payload.
constexpr uint64_t kPointBytes = 400;
// An id and what is found of it.
constexpr uint64_t kIdBytes = 200;
// A value of a payload that is parsed; lists leave half of what they grow to.
constexpr uint64_t kValueBytes = 120;
// A parser takes about so many times the text it parses.
constexpr uint64_t kParserFactor = 16;
// Points read at a time: bounds what there is of them beside payloads and vectors.
constexpr size_t kPortionPoints = 1024;

// Of a text so long; short ones are parsed in what a thread keeps.
uint64_t ParserBytes(uint64_t text_bytes) {
  return text_bytes < CallMemory::kSmallBytes ? 0 : kParserFactor * text_bytes;
}

absl::Status CheckIds(size_t count) {
  if (count <= db::kBatchPointsMax) return absl::OkStatus();
  return InvalidField("ids", absl::StrCat(count, " ids, at most ", db::kBatchPointsMax));
}

absl::StatusOr<std::shared_ptr<db::Collection>> Find(ServiceContext& context, const Call& call,
                                                     const std::string& name) {
  TESSERA_RETURN_IF_ERROR(call.CheckLive());
  return context.database.GetCollection(name);
}

absl::Status Upsert(ServiceContext& context, Call& call, const v1::UpsertRequest& request,
                    Reply* reply) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                           Find(context, call, request.collection()));
  TESSERA_ASSIGN_OR_RETURN(const db::Ack ack, FromProto(request.ack()));
  TESSERA_ASSIGN_OR_RETURN(
      std::vector<db::Point> points,
      PointsFromProto(collection->schema(), request.points(), request.batch()));
  if (points.empty()) return InvalidField("points", "the request holds no points");
  const bool columns = request.has_batch();
  const absl::StatusOr<db::UpsertOutcome> outcome = collection->Upsert(std::move(points), ack);
  if (!outcome.ok()) return BlameIfInvalid(outcome.status(), columns ? "batch" : "points");
  v1::UpsertResponse response;
  response.set_version(outcome->version);
  response.set_time(call.Seconds());
  reply->AddFields(response);
  return absl::OkStatus();
}

absl::Status Delete(ServiceContext& context, Call& call, const v1::DeleteRequest& request,
                    Reply* reply) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                           Find(context, call, request.collection()));
  TESSERA_RETURN_IF_ERROR(CheckIds(static_cast<size_t>(request.ids_size())));
  TESSERA_ASSIGN_OR_RETURN(const db::Ack ack, FromProto(request.ack()));
  TESSERA_ASSIGN_OR_RETURN(const std::vector<base::PointId> ids, FromProto(request.ids()));
  TESSERA_ASSIGN_OR_RETURN(const uint64_t deleted, collection->Delete(ids, ack));
  v1::DeleteResponse response;
  response.set_deleted(deleted);
  response.set_time(call.Seconds());
  reply->AddFields(response);
  return absl::OkStatus();
}

absl::Status SetPayload(ServiceContext& context, Call& call, const v1::SetPayloadRequest& request,
                        Reply* reply) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                           Find(context, call, request.collection()));
  const auto count = static_cast<uint64_t>(request.ids_size());
  TESSERA_RETURN_IF_ERROR(CheckIds(count));
  TESSERA_ASSIGN_OR_RETURN(const db::Ack ack, FromProto(request.ack()));
  const std::string& text = request.payload();
  const auto values = static_cast<uint64_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return c == ',' || c == ':' || c == '['; }));
  // The merged payloads are one write: what they have together counts twice in it.
  const uint64_t merged_max = std::min(count * db::kPayloadBytesMax, db::kMergedBytesMax);
  // The parser has ended when they are written.
  TESSERA_RETURN_IF_ERROR(call.Reserve(count * kIdBytes + text.size() + kValueBytes * values +
                                       std::max(ParserBytes(text.size()), 2 * merged_max)));
  TESSERA_ASSIGN_OR_RETURN(const std::vector<base::PointId> ids, FromProto(request.ids()));
  const absl::StatusOr<base::Value> payload = FromPayloadText(text);
  if (!payload.ok()) return BlameField(payload.status(), "payload");
  if (payload->object() == nullptr) return InvalidField("payload", "must be a JSON object");
  TESSERA_ASSIGN_OR_RETURN(const uint64_t updated, collection->SetPayload(ids, *payload, ack));
  v1::SetPayloadResponse response;
  response.set_updated(updated);
  response.set_time(call.Seconds());
  reply->AddFields(response);
  return absl::OkStatus();
}

// The points of a Get or Scroll reply, one after the other, up to a number of bytes.
class PointsReply {
 public:
  PointsReply(const base::CollectionSchema& schema, int field, uint64_t bytes_max, Reply* reply)
      : schema_(schema), field_(field), bytes_max_(bytes_max), reply_(*reply) {
    reply_.Clear();
  }

  // False when the point does not fit; the first one always does.
  bool Add(db::StoredPoint&& point) {
    message_.Clear();
    ToProto(schema_, std::move(point), &message_);
    if (reply_.bytes() > 0 && reply_.bytes() + Reply::ElementBytes(field_, message_) > bytes_max_) {
      return false;
    }
    reply_.AddElement(field_, message_);
    return true;
  }

  // Of payloads and vectors to be read next.
  uint64_t bytes_left() const { return bytes_max_ - std::min(bytes_max_, reply_.bytes()); }

 private:
  const base::CollectionSchema& schema_;
  const int field_;
  const uint64_t bytes_max_;
  Reply& reply_;
  v1::RetrievedPoint message_;
};

absl::Status ReadPoints(db::Collection& collection, std::span<const base::PointId> ids,
                        db::Projection with, uint64_t bytes_max, Reply* reply) {
  PointsReply out(collection.schema(), v1::GetResponse::kPointsFieldNumber, bytes_max, reply);
  while (!ids.empty()) {
    const size_t portion = std::min(ids.size(), kPortionPoints);
    with.bytes_max = out.bytes_left();
    TESSERA_ASSIGN_OR_RETURN(std::vector<db::StoredPoint> points,
                             collection.Get(ids.first(portion), with));
    ids = ids.subspan(portion);
    for (db::StoredPoint& point : points) {
      if (!out.Add(std::move(point))) return absl::OutOfRangeError("the reply is full");
    }
  }
  return absl::OkStatus();
}

absl::Status Get(ServiceContext& context, Call& call, const v1::GetRequest& request,
                 Reply* reply) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                           Find(context, call, request.collection()));
  TESSERA_RETURN_IF_ERROR(CheckIds(static_cast<size_t>(request.ids_size())));
  TESSERA_ASSIGN_OR_RETURN(const std::vector<base::PointId> ids, FromProto(request.ids()));
  const db::Projection with = {.payload = request.with_payload(),
                               .vectors = request.with_vectors(),
                               .payload_as_text = true};
  const uint64_t bytes_max = ReplyBytesMax(context, request.reply_bytes_max());
  const absl::Status read =
      ReadWithin(call, ids.size() * kIdBytes, kReplyBytesLikely, bytes_max, [&](uint64_t bytes) {
        return ReadPoints(*collection, ids, with, bytes, reply);
      });
  if (absl::IsOutOfRange(read)) {
    return InvalidField("ids", absl::StrCat("the points of ", ids.size(), " ids have over ",
                                            bytes_max, " bytes, the most of this reply; ask for "
                                            "fewer, or set reply_bytes_max, up to ",
                                            context.reply_bytes_max));
  }
  TESSERA_RETURN_IF_ERROR(read);
  v1::GetResponse rest;
  rest.set_time(call.Seconds());
  reply->AddFields(rest);
  return absl::OkStatus();
}

// At most `limit` points from `offset` on, and no more than fit into the reply.
struct Page {
  std::optional<base::PointId> offset;
  uint32_t limit = 0;
  db::Projection with;
};

// Fills `reply` and sets `next`, where the next page begins, if there is one.
absl::Status ReadPage(db::Collection& collection, Page page, uint64_t bytes_max, Reply* reply,
                      std::optional<base::PointId>* next, bool* full) {
  PointsReply out(collection.schema(), v1::ScrollResponse::kPointsFieldNumber, bytes_max, reply);
  next->reset();
  *full = false;
  while (page.limit > 0) {
    const auto portion = std::min<uint32_t>(page.limit, kPortionPoints);
    page.with.bytes_max = out.bytes_left();
    TESSERA_ASSIGN_OR_RETURN(db::ScrollPage part,
                             collection.Scroll(page.offset, portion, page.with));
    for (db::StoredPoint& point : part.points) {
      const base::PointId id = point.id;
      if (out.Add(std::move(point))) continue;
      *next = id;
      *full = true;
      return absl::OkStatus();
    }
    *next = page.offset = std::move(part.next_offset);
    *full = part.points.size() < portion && next->has_value();
    if (*full || !next->has_value()) return absl::OkStatus();
    page.limit -= portion;
  }
  return absl::OkStatus();
}

absl::Status Scroll(ServiceContext& context, Call& call, const v1::ScrollRequest& request,
                    Reply* reply) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                           Find(context, call, request.collection()));
  Page page{.offset = {},
            .limit = request.limit() == 0 ? 10 : request.limit(),
            .with = {.payload = request.with_payload(),
                     .vectors = request.with_vectors(),
                     .payload_as_text = true}};
  if (request.has_offset()) {
    absl::StatusOr<base::PointId> id = FromProto(request.offset());
    if (!id.ok()) return BlameField(id.status(), "offset");
    page.offset = *std::move(id);
  }
  if (page.limit > base::kLimitMax) {
    return InvalidField("limit",
                        absl::StrCat("is ", page.limit, ", must be 1 .. ", base::kLimitMax));
  }
  const uint64_t bytes_max = ReplyBytesMax(context, request.reply_bytes_max());
  std::optional<base::PointId> next;
  const auto read = [&](uint64_t bytes) -> absl::Status {
    bool full = false;
    TESSERA_RETURN_IF_ERROR(ReadPage(*collection, page, bytes, reply, &next, &full));
    return full && bytes < bytes_max ? absl::OutOfRangeError("more fits") : absl::OkStatus();
  };
  TESSERA_RETURN_IF_ERROR(ReadWithin(call, page.limit * kIdBytes, kReplyBytesLikely, bytes_max, read));
  v1::ScrollResponse rest;
  if (next.has_value()) ToProto(*next, rest.mutable_next_offset());
  rest.set_time(call.Seconds());
  reply->AddFields(rest);
  return absl::OkStatus();
}

absl::Status Count(ServiceContext& context, Call& call, const v1::CountRequest& request,
                   Reply* reply) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                           Find(context, call, request.collection()));
  TESSERA_ASSIGN_OR_RETURN(const uint64_t count, collection->Count());
  v1::CountResponse response;
  response.set_count(count);
  response.set_time(call.Seconds());
  reply->AddFields(response);
  return absl::OkStatus();
}

template <typename Request>
Method Make(ServiceContext& context, Lane lane,
            absl::Status (*handle)(ServiceContext&, Call&, const Request&, Reply*)) {
  return MakeMethod<Request>(lane, kIdBytes,
                             [&context, handle](Call& call, const Request& request, Reply* reply) {
                               return handle(context, call, request, reply);
                             });
}

Method MakeUpsert(ServiceContext& context) {
  Method method = Make(context, Lane::kWrite, &Upsert);
  method.memory_bytes = &PointsMemoryBytes;
  return method;
}

}  // namespace

uint64_t PointsMemoryBytes(const WireCost& cost) {
  return cost.parsed_bytes + cost.content_bytes + kPointBytes * cost.rows +
         ParserBytes(cost.text_bytes_max);
}

PointsMethods::PointsMethods(ServiceContext& context)
    : upsert(MakeUpsert(context)),
      remove(Make(context, Lane::kWrite, &Delete)),
      get(Make(context, Lane::kRead, &Get)),
      set_payload(Make(context, Lane::kWrite, &SetPayload)),
      scroll(Make(context, Lane::kRead, &Scroll)),
      count(Make(context, Lane::kRead, &Count)) {}

}  // namespace tessera::api
