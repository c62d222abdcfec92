#include "api/services/search_service.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "api/convert.h"
#include "api/formats/element_convert.h"
#include "api/score_threshold.h"
#include "api/search_near.h"
#include "api/status.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::api {
namespace {

// A hit in the engine's form and as a message, without vectors and payload.
constexpr uint64_t kHitBytes = 512;
// The same on the wire, with an id of usual length.
constexpr uint64_t kWireHitBytes = 80;
// What a result has beside its hits.
constexpr uint64_t kWireUsageBytes = 512;

// The same with what a filter and an explanation bring.
uint64_t WireUsageBytes(const db::SearchParams& params) {
  constexpr uint64_t kWarningBytes = 1024;
  constexpr uint64_t kExplainBytes = 6144;
  return kWireUsageBytes + (params.filter.has_value() ? kWarningBytes : 0) +
         (params.explain ? kExplainBytes : 0);
}

// Ranges of the parameters, under the names they have in the request.
absl::Status CheckParams(const db::SearchParams& params) {
  if (params.limit > base::kLimitMax) {
    return InvalidField("limit",
                        absl::StrCat("is ", params.limit, ", must be 1 .. ", base::kLimitMax));
  }
  if (!(params.recall_target >= 0 && params.recall_target < 1)) {
    return InvalidField("params.recall_target",
                        absl::StrCat("is ", params.recall_target,
                                     ", must be over 0 and under 1, or 0 for the default"));
  }
  if (!std::isfinite(params.oversampling) ||
      (params.oversampling != 0 && params.oversampling < 1)) {
    return InvalidField(
        "params.oversampling",
        absl::StrCat("is ", params.oversampling, ", must be at least 1, or 0 for the default"));
  }
  const int modes =
      (params.exact ? 1 : 0) + (params.nprobe > 0 ? 1 : 0) + (params.recall_target > 0 ? 1 : 0);
  if (modes > 1) {
    return InvalidField("params", "has more than one of exact, nprobe and recall_target");
  }
  return absl::OkStatus();
}

absl::Status CheckThreshold(const base::VectorFieldSchema& field, const db::SearchParams& params) {
  if (!params.score_threshold.has_value()) return absl::OkStatus();
  const float threshold = *params.score_threshold;
  if (std::isnan(threshold)) return InvalidField("score_threshold", "is NaN, must be a number");
  const std::optional<std::string_view> why = WhyNothingReaches(field.metric, threshold);
  if (!why.has_value()) return absl::OkStatus();
  return InvalidField("score_threshold", absl::StrCat("is ", threshold, ", ", base::Sv(*why)));
}

// Vectors of a reply are of known size; answers before the work is done.
absl::Status CheckReplyBytes(const base::CollectionSchema& schema, const db::SearchParams& params,
                             uint64_t queries, uint64_t bytes_max) {
  const uint64_t hit_bytes = params.with.vectors ? base::VectorBytes(schema) : 0;
  if (queries * params.limit * hit_bytes <= bytes_max) return absl::OkStatus();
  return InvalidField("limit",
                      absl::StrCat(queries, " queries x limit ", params.limit, " with vectors of ",
                                   hit_bytes, " bytes, at most ", bytes_max,
                                   " bytes in this reply (see reply_bytes_max)"));
}

// Payloads, and ids, show their size only in the end.
absl::Status ReplyTooLong(uint64_t bytes_max, uint64_t allowed) {
  return InvalidField("limit", absl::StrCat("the hits have over ", bytes_max,
                                            " bytes, the most of this reply; ask for fewer, or set "
                                            "reply_bytes_max, up to ",
                                            allowed));
}

// How many queries there are. Errors: kInvalidArgument.
absl::StatusOr<uint64_t> CountQueries(const base::VectorFieldSchema& field,
                                      const v1::VectorColumn& column, uint32_t limit) {
  absl::StatusOr<base::ElementType> type = FromProto(column.type(), field.type);
  if (!type.ok()) return BlameField(type.status(), "queries.type");
  TESSERA_RETURN_IF_ERROR(CheckBatch(field, column.data().size(), *type));
  const uint64_t count = column.data().size() / (field.dim * base::ElementBytes(*type));
  if (count * limit <= kBatchHitsMax) return count;
  return InvalidField("limit", absl::StrCat(count, " queries x limit ", limit, ", at most ",
                                            kBatchHitsMax, " hits in all"));
}

// The queries as floats [count x dim]. Errors: kInvalidArgument.
absl::StatusOr<std::vector<float>> BatchQueries(const base::VectorFieldSchema& field,
                                                const v1::VectorColumn& column) {
  TESSERA_ASSIGN_OR_RETURN(const base::ElementType type, FromProto(column.type(), field.type));
  std::vector<float> queries = ToFloats(column.data(), type);
  for (size_t i = 0; i < queries.size(); ++i) {
    if (std::isfinite(queries[i])) continue;
    return InvalidField("queries.data",
                        absl::StrCat("query ", i / field.dim, " has component ", i % field.dim,
                                     " = ", queries[i], ", must be finite"));
  }
  return queries;
}

// The vector of a query as floats. Errors: kInvalidArgument.
absl::StatusOr<std::vector<float>> OneQuery(const base::VectorFieldSchema& field,
                                            const v1::SearchRequest& request) {
  if (request.query_case() == v1::SearchRequest::QUERY_NOT_SET) {
    return InvalidField("query", "has neither a vector nor a point");
  }
  TESSERA_ASSIGN_OR_RETURN(std::vector<float> query, QueryFromProto(field, request.vector()));
  for (size_t i = 0; i < query.size(); ++i) {
    if (std::isfinite(query[i])) continue;
    return InvalidField("vector",
                        absl::StrCat("has component ", i, " = ", query[i], ", must be finite"));
  }
  return query;
}

// Filter and plan of a request into `params`; `*filter_bytes` is what the filter takes.
template <typename Request>
absl::Status SetFilter(Call& call, const Request& request, db::SearchParams* params,
                       uint64_t* filter_bytes) {
  TESSERA_ASSIGN_OR_RETURN(params->plan, FromProto(request.params().plan()));
  if (params->exact && params->plan != db::SearchPlan::kAuto) {
    return InvalidField("params.plan", "is given beside exact");
  }
  if (!request.has_filter()) return absl::OkStatus();
  *filter_bytes = FilterMemoryBytes(request.filter());
  TESSERA_RETURN_IF_ERROR(call.Reserve(*filter_bytes));
  TESSERA_ASSIGN_OR_RETURN(params->filter, FilterFromProto(request.filter(), "filter"));
  return absl::OkStatus();
}

// What the engine refuses of parameters that are in their ranges.
std::string_view BlamedIn(const db::SearchParams& params, std::string_view otherwise) {
  return params.filter.has_value() ? "filter" : otherwise;
}

// Hits of one search go out one by one.
void WriteHits(const base::CollectionSchema& schema, db::SearchResult&& result, double seconds,
               Reply* reply) {
  reply->Clear();
  v1::ScoredPoint message;
  for (db::Hit& hit : result.hits) {
    message.Clear();
    ToProto(schema, std::move(hit), &message);
    reply->AddElement(v1::SearchResponse::kResultFieldNumber, message);
  }
  v1::SearchResponse rest;
  RestToProto(result, &rest);
  rest.set_time(seconds);
  reply->AddFields(rest);
}

absl::Status Search(ServiceContext& context, Call& call, const v1::SearchRequest& request,
                    Reply* reply) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                           context.database.GetCollection(request.collection()));
  const base::CollectionSchema& schema = collection->schema();
  const absl::StatusOr<const base::VectorFieldSchema*> field = FindField(schema, request.field());
  if (!field.ok()) return BlameField(field.status(), "field");
  db::SearchParams params = ParamsFromProto(request, request.field());
  TESSERA_RETURN_IF_ERROR(CheckParams(params));
  TESSERA_RETURN_IF_ERROR(CheckThreshold(**field, params));
  const uint64_t bytes_max = ReplyBytesMax(context, request.reply_bytes_max());
  TESSERA_RETURN_IF_ERROR(CheckReplyBytes(schema, params, 1, bytes_max));
  params.deadline = call.deadline();
  params.cancelled = call.cancelled();
  params.with.payload_as_text = true;
  uint64_t filter_bytes = 0;
  TESSERA_RETURN_IF_ERROR(SetFilter(call, request, &params, &filter_bytes));

  std::vector<float> query;
  std::optional<base::PointId> near;
  if (request.query_case() == v1::SearchRequest::kPoint) {
    absl::StatusOr<base::PointId> id = FromProto(request.point());
    if (!id.ok()) return BlameField(id.status(), "point");
    near = *std::move(id);
  } else {
    TESSERA_ASSIGN_OR_RETURN(query, OneQuery(**field, request));
  }
  const auto search = [&](uint64_t bytes) -> absl::Status {
    params.with.bytes_max = bytes;
    absl::StatusOr<db::SearchResult> result = near.has_value()
                                                  ? SearchNearPoint(*collection, *near, params)
                                                  : collection->Search(query, params);
    if (!result.ok()) return BlameIfInvalid(result.status(), BlamedIn(params, "params"));
    WriteHits(schema, *std::move(result), call.Seconds(), reply);
    return reply->bytes() > bytes ? absl::OutOfRangeError("the reply is full") : absl::OkStatus();
  };
  // Plain hits of usual length are a small call, which waits for no other's memory.
  const uint64_t likely = params.with.payload || params.with.vectors
                              ? kReplyBytesLikely
                              : WireUsageBytes(params) + params.limit * kWireHitBytes;
  const absl::Status status =
      ReadWithin(call, filter_bytes + params.limit * kHitBytes, likely, bytes_max, search);
  if (!absl::IsOutOfRange(status)) return status;
  return ReplyTooLong(bytes_max, context.reply_bytes_max);
}

absl::Status SearchBatch(ServiceContext& context, Call& call,
                         const v1::SearchBatchRequest& request, Reply* reply) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                           context.database.GetCollection(request.collection()));
  const base::CollectionSchema& schema = collection->schema();
  const absl::StatusOr<const base::VectorFieldSchema*> field =
      FindField(schema, request.queries().field());
  if (!field.ok()) return BlameField(field.status(), "queries.field");
  db::SearchParams params = ParamsFromProto(request, request.queries().field());
  TESSERA_RETURN_IF_ERROR(CheckParams(params));
  TESSERA_RETURN_IF_ERROR(CheckThreshold(**field, params));
  const uint64_t bytes_max = ReplyBytesMax(context, request.reply_bytes_max());
  params.deadline = call.deadline();
  params.cancelled = call.cancelled();
  params.with.payload_as_text = true;
  TESSERA_ASSIGN_OR_RETURN(
      const uint64_t count,
      CountQueries(**field, request.queries(), params.limit));
  TESSERA_RETURN_IF_ERROR(CheckReplyBytes(schema, params, count, bytes_max));
  uint64_t filter_bytes = 0;
  TESSERA_RETURN_IF_ERROR(SetFilter(call, request, &params, &filter_bytes));

  const uint64_t fixed_bytes =
      filter_bytes + request.queries().data().size() +
      count * ((*field)->dim * sizeof(float) + sizeof(std::string)) +
      std::min(count, context.search_threads + 1) * params.limit * kHitBytes;
  const auto search = [&](uint64_t bytes) -> absl::Status {
    TESSERA_ASSIGN_OR_RETURN(const std::vector<float> queries,
                             BatchQueries(**field, request.queries()));
    params.with.bytes_max = bytes;
    std::vector<std::string> results(count);  // serialised, one for each query
    std::atomic<uint64_t> reply_bytes{0};
    const absl::Status searched = collection->SearchBatch(
        queries, params, [&](size_t query, db::SearchResult result) -> absl::Status {
          v1::SearchResponse message;
          message.set_time(result.seconds);
          ToProto(schema, std::move(result), &message);
          const uint64_t length = message.ByteSizeLong();
          if (reply_bytes.fetch_add(length, std::memory_order_relaxed) + length > bytes) {
            return absl::OutOfRangeError("the reply is full");
          }
          message.SerializeToString(&results[query]);
          return absl::OkStatus();
        });
    if (!searched.ok()) return BlameIfInvalid(searched, BlamedIn(params, "queries"));
    reply->Clear();
    for (std::string& result : results) {
      reply->AddElement(v1::SearchBatchResponse::kResultsFieldNumber, std::move(result));
    }
    return absl::OkStatus();
  };
  // A batch is too much work to be done a second time for a longer reply.
  const uint64_t likely = std::min(
      bytes_max, count * (params.limit * kWireHitBytes + WireUsageBytes(params) - kWireUsageBytes));
  TESSERA_RETURN_IF_ERROR(call.Reserve(
      fixed_bytes + (params.with.payload || params.with.vectors ? 3 * bytes_max : 2 * likely)));
  const absl::Status status = search(bytes_max);
  if (absl::IsOutOfRange(status)) return ReplyTooLong(bytes_max, context.reply_bytes_max);
  TESSERA_RETURN_IF_ERROR(status);
  v1::SearchBatchResponse rest;
  rest.set_time(call.Seconds());
  reply->AddFields(rest);
  return absl::OkStatus();
}

}  // namespace

SearchMethods::SearchMethods(ServiceContext& context)
    : search(MakeMethod<v1::SearchRequest>(
          Lane::kRead, sizeof(float),
          [&context](Call& call, const v1::SearchRequest& request, Reply* reply) {
            return Search(context, call, request, reply);
          })),
      search_batch(MakeMethod<v1::SearchBatchRequest>(
          Lane::kRead, 0,
          [&context](Call& call, const v1::SearchBatchRequest& request, Reply* reply) {
            return SearchBatch(context, call, request, reply);
          })) {}

}  // namespace tessera::api
