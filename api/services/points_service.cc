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
#include "api/filters/filter_path.h"
#include "api/filters/filter_value.h"
#include "api/status.h"
#include "base/status_macros.h"
#include "base/strings.h"

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
// A value of a facet with its count, in the engine's form and as a message.
constexpr uint64_t kFacetValueBytes = 512;
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

// `*bytes` is what the filter takes: with its message, as text and parsed.
absl::StatusOr<db::FilterText> TakeFilter(Call& call, const v1::Filter& filter, uint64_t* bytes) {
  *bytes = FilterMemoryBytes(filter);
  TESSERA_RETURN_IF_ERROR(call.Reserve(*bytes));
  return FilterFromProto(filter, "filter");
}

// Of a change: by ids or by a filter.
template <typename Request>
absl::Status CheckWhich(const Request& request) {
  TESSERA_RETURN_IF_ERROR(CheckIds(static_cast<size_t>(request.ids_size())));
  if (!request.has_filter() || request.ids().empty()) return absl::OkStatus();
  return InvalidField("filter", "is given beside ids, must be one of them");
}

template <typename Response>
void SetWarnings(const std::vector<std::string>& warnings, Response* response) {
  response->mutable_warnings()->Add(warnings.begin(), warnings.end());
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
  TESSERA_RETURN_IF_ERROR(CheckWhich(request));
  TESSERA_ASSIGN_OR_RETURN(const db::Ack ack, FromProto(request.ack()));
  v1::DeleteResponse response;
  if (request.has_filter()) {
    uint64_t filter_bytes = 0;
    TESSERA_ASSIGN_OR_RETURN(const db::FilterText filter,
                             TakeFilter(call, request.filter(), &filter_bytes));
    const absl::StatusOr<db::ChangeResult> changed = collection->DeleteWhere(filter, ack);
    if (!changed.ok()) return BlameIfInvalid(changed.status(), "filter");
    response.set_deleted(changed->points);
    SetWarnings(changed->warnings, &response);
  } else {
    TESSERA_ASSIGN_OR_RETURN(const std::vector<base::PointId> ids, FromProto(request.ids()));
    TESSERA_ASSIGN_OR_RETURN(const uint64_t deleted, collection->Delete(ids, ack));
    response.set_deleted(deleted);
  }
  response.set_time(call.Seconds());
  reply->AddFields(response);
  return absl::OkStatus();
}

absl::Status SetPayload(ServiceContext& context, Call& call, const v1::SetPayloadRequest& request,
                        Reply* reply) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                           Find(context, call, request.collection()));
  const auto count = static_cast<uint64_t>(request.ids_size());
  TESSERA_RETURN_IF_ERROR(CheckWhich(request));
  TESSERA_ASSIGN_OR_RETURN(const db::Ack ack, FromProto(request.ack()));
  const std::string& text = request.payload();
  const auto values = static_cast<uint64_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return c == ',' || c == ':' || c == '['; }));
  // The merged payloads are one write: what they have together counts twice in it.
  const uint64_t merged_max = request.has_filter()
                                  ? db::kMergedBytesMax
                                  : std::min(count * db::kPayloadBytesMax, db::kMergedBytesMax);
  const uint64_t filter_bytes = request.has_filter() ? FilterMemoryBytes(request.filter()) : 0;
  // The parser has ended when they are written.
  TESSERA_RETURN_IF_ERROR(call.Reserve(filter_bytes + count * kIdBytes + text.size() +
                                       kValueBytes * values +
                                       std::max(ParserBytes(text.size()), 2 * merged_max)));
  TESSERA_ASSIGN_OR_RETURN(const std::vector<base::PointId> ids, FromProto(request.ids()));
  const absl::StatusOr<base::Value> payload = FromPayloadText(text);
  if (!payload.ok()) return BlameField(payload.status(), "payload");
  if (payload->object() == nullptr) return InvalidField("payload", "must be a JSON object");
  v1::SetPayloadResponse response;
  if (request.has_filter()) {
    TESSERA_ASSIGN_OR_RETURN(const db::FilterText filter,
                             FilterFromProto(request.filter(), "filter"));
    const absl::StatusOr<db::ChangeResult> changed =
        collection->SetPayloadWhere(filter, *payload, ack);
    if (!changed.ok()) return BlameIfInvalid(changed.status(), "filter");
    response.set_updated(changed->points);
    SetWarnings(changed->warnings, &response);
  } else {
    TESSERA_ASSIGN_OR_RETURN(const uint64_t updated, collection->SetPayload(ids, *payload, ack));
    response.set_updated(updated);
  }
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

absl::Status Get(ServiceContext& context, Call& call, const v1::GetRequest& request, Reply* reply) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                           Find(context, call, request.collection()));
  TESSERA_RETURN_IF_ERROR(CheckIds(static_cast<size_t>(request.ids_size())));
  TESSERA_ASSIGN_OR_RETURN(const std::vector<base::PointId> ids, FromProto(request.ids()));
  const db::Projection with = {.payload = request.with_payload(),
                               .vectors = request.with_vectors(),
                               .payload_as_text = true};
  const uint64_t bytes_max = ReplyBytesMax(context, request.reply_bytes_max());
  const absl::Status read =
      ReadWithin(call, ids.size() * kIdBytes, kReplyBytesLikely, bytes_max,
                 [&](uint64_t bytes) { return ReadPoints(*collection, ids, with, bytes, reply); });
  if (absl::IsOutOfRange(read)) {
    return InvalidField("ids",
                        absl::StrCat("the points of ", ids.size(), " ids have over ", bytes_max,
                                     " bytes, the most of this reply; ask for "
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
using Page = db::ScrollParams;

// What a page says beside its points.
struct PageEnd {
  std::optional<base::PointId> next;  // where the next page begins, if there is one
  bool full = false;                  // the reply is, or the engine's part of it
  std::vector<std::string> warnings;
};

absl::Status ReadPage(db::Collection& collection, Page page, uint64_t bytes_max, Reply* reply,
                      PageEnd* end) {
  PointsReply out(collection.schema(), v1::ScrollResponse::kPointsFieldNumber, bytes_max, reply);
  *end = PageEnd();
  uint32_t left = page.limit;
  while (left > 0) {
    page.limit = std::min<uint32_t>(left, kPortionPoints);
    page.with.bytes_max = out.bytes_left();
    absl::StatusOr<db::ScrollPage> part = collection.ScrollWhere(page);
    if (!part.ok()) {
      return page.filter.has_value() ? BlameIfInvalid(part.status(), "filter") : part.status();
    }
    end->warnings = std::move(part->warnings);
    for (db::StoredPoint& point : part->points) {
      const base::PointId id = point.id;
      if (out.Add(std::move(point))) continue;
      end->next = id;
      end->full = true;
      return absl::OkStatus();
    }
    end->next = page.offset = std::move(part->next_offset);
    end->full = part->points.size() < page.limit && end->next.has_value();
    if (end->full || !end->next.has_value()) return absl::OkStatus();
    left -= page.limit;
  }
  return absl::OkStatus();
}

absl::Status Scroll(ServiceContext& context, Call& call, const v1::ScrollRequest& request,
                    Reply* reply) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                           Find(context, call, request.collection()));
  Page page{.offset = {},
            .limit = request.limit() == 0 ? 10 : request.limit(),
            .filter = {},
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
  page.stop = {.deadline = call.deadline(), .cancelled = call.cancelled()};
  uint64_t filter_bytes = 0;
  if (request.has_filter()) {
    TESSERA_ASSIGN_OR_RETURN(page.filter, TakeFilter(call, request.filter(), &filter_bytes));
  }
  const uint64_t bytes_max = ReplyBytesMax(context, request.reply_bytes_max());
  PageEnd end;
  const auto read = [&](uint64_t bytes) -> absl::Status {
    TESSERA_RETURN_IF_ERROR(ReadPage(*collection, page, bytes, reply, &end));
    return end.full && bytes < bytes_max ? absl::OutOfRangeError("more fits") : absl::OkStatus();
  };
  TESSERA_RETURN_IF_ERROR(
      ReadWithin(call, filter_bytes + page.limit * kIdBytes, kReplyBytesLikely, bytes_max, read));
  v1::ScrollResponse rest;
  if (end.next.has_value()) ToProto(*end.next, rest.mutable_next_offset());
  SetWarnings(end.warnings, &rest);
  rest.set_time(call.Seconds());
  reply->AddFields(rest);
  return absl::OkStatus();
}

absl::Status Count(ServiceContext& context, Call& call, const v1::CountRequest& request,
                   Reply* reply) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                           Find(context, call, request.collection()));
  v1::CountResponse response;
  if (request.has_filter() || request.explain()) {
    db::CountParams params{.filter = {},
                           .explain = request.explain(),
                           .stop = {.deadline = call.deadline(), .cancelled = call.cancelled()}};
    uint64_t filter_bytes = 0;
    if (request.has_filter()) {
      TESSERA_ASSIGN_OR_RETURN(params.filter, TakeFilter(call, request.filter(), &filter_bytes));
    }
    const absl::StatusOr<db::CountResult> result = collection->CountWhere(params);
    if (!result.ok()) return BlameIfInvalid(result.status(), "filter");
    response.set_count(result->count);
    SetWarnings(result->warnings, &response);
    if (result->explain.has_value()) ToProto(*result->explain, response.mutable_explain());
  } else {
    TESSERA_ASSIGN_OR_RETURN(const uint64_t count, collection->Count());
    response.set_count(count);
  }
  response.set_time(call.Seconds());
  reply->AddFields(response);
  return absl::OkStatus();
}

absl::Status Facet(ServiceContext& context, Call& call, const v1::FacetRequest& request,
                   Reply* reply) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                           Find(context, call, request.collection()));
  const absl::StatusOr<std::string> path = QuotePath(request.path());
  if (!path.ok()) {
    return InvalidField("path", base::StdSv(path.status().message()));
  }
  db::FacetParams params{
      .path = *path, .limit = request.limit() == 0 ? 10 : request.limit(), .filter = {}};
  if (params.limit > base::kLimitMax) {
    return InvalidField("limit",
                        absl::StrCat("is ", params.limit, ", must be 1 .. ", base::kLimitMax));
  }
  uint64_t filter_bytes = 0;
  if (request.has_filter()) {
    TESSERA_ASSIGN_OR_RETURN(params.filter, TakeFilter(call, request.filter(), &filter_bytes));
  }
  params.stop = {.deadline = call.deadline(), .cancelled = call.cancelled()};
  const uint64_t bytes_max = ReplyBytesMax(context, 0);
  TESSERA_RETURN_IF_ERROR(call.Reserve(filter_bytes + params.limit * kFacetValueBytes));
  absl::StatusOr<db::FacetResult> result = collection->Facet(params);
  if (!result.ok()) {
    return BlameIfInvalid(result.status(), params.filter.has_value() ? "filter" : "path");
  }
  v1::FacetResponse response;
  for (const db::FacetValue& value : result->values) {
    v1::FacetValue* added = response.add_values();
    ToProto(value.value, added->mutable_value());
    added->set_count(value.count);
  }
  response.set_distinct(result->distinct);
  response.set_points(result->points);
  SetWarnings(result->warnings, &response);
  if (response.ByteSizeLong() > bytes_max) {
    return InvalidField("limit", absl::StrCat("the values have over ", bytes_max,
                                              " bytes, the most of this reply; ask for fewer"));
  }
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
      count(Make(context, Lane::kRead, &Count)),
      facet(Make(context, Lane::kRead, &Facet)) {}

}  // namespace tessera::api
