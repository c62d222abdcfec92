#include "api/services/search_service.h"

#include <atomic>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "api/convert.h"
#include "api/formats/element_convert.h"
#include "api/search_near.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::api {
namespace {

// A hit as a message, without vectors and payload.
constexpr uint64_t kHitBytes = 256;

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
  if (params.score_threshold.has_value() && std::isnan(*params.score_threshold)) {
    return InvalidField("score_threshold", "is NaN, must be a number");
  }
  return absl::OkStatus();
}

// Vectors of a reply are of known size; answers before the work is done.
absl::Status CheckReplyBytes(const base::CollectionSchema& schema, const db::SearchParams& params,
                             uint64_t queries, uint64_t bytes_max) {
  const uint64_t hit_bytes = params.with.vectors ? VectorBytes(schema) : 0;
  if (queries * params.limit * hit_bytes <= bytes_max) return absl::OkStatus();
  return InvalidField("limit",
                      absl::StrCat(queries, " queries x limit ", params.limit, " with vectors of ",
                                   hit_bytes, " bytes, at most ", bytes_max, " bytes in a reply"));
}

// Payloads show their size only in the end.
absl::Status ReplyTooLong(uint64_t bytes_max) {
  return InvalidField("limit", absl::StrCat("the hits with their payloads have over ", bytes_max,
                                            " bytes, the most of one reply"));
}

// What the messages of a reply take in memory, payloads left out.
uint64_t ReplyMemoryBytes(const base::CollectionSchema& schema, const db::SearchParams& params,
                          uint64_t queries) {
  return queries * params.limit * (kHitBytes + (params.with.vectors ? VectorBytes(schema) : 0));
}

// The queries as floats [count x dim]. Errors: kInvalidArgument.
absl::StatusOr<std::vector<float>> BatchQueries(const base::VectorFieldSchema& field,
                                                const v1::VectorColumn& column, uint32_t limit) {
  absl::StatusOr<base::ElementType> type = FromProto(column.type(), field.type);
  if (!type.ok()) return BlameField(type.status(), "queries.type");
  TESSERA_RETURN_IF_ERROR(CheckBatch(field, column.data().size(), *type));
  const uint64_t count = column.data().size() / (field.dim * base::ElementBytes(*type));
  if (count * limit > kBatchHitsMax) {
    return InvalidField("limit", absl::StrCat(count, " queries x limit ", limit, ", at most ",
                                              kBatchHitsMax, " hits in all"));
  }
  std::vector<float> queries = ToFloats(column.data(), *type);
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

}  // namespace

grpc::Status SearchService::Search(grpc::ServerContext* call, const v1::SearchRequest* request,
                                   v1::SearchResponse* response) {
  return Answer([&]() -> absl::Status {
    const Stopwatch watch;
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(request->collection()));
    const base::CollectionSchema& schema = collection->schema();
    const absl::StatusOr<const base::VectorFieldSchema*> field =
        FindField(schema, request->field());
    if (!field.ok()) return BlameField(field.status(), "field");
    db::SearchParams params = ParamsFromProto(*request, request->field());
    TESSERA_RETURN_IF_ERROR(CheckParams(params));
    TESSERA_RETURN_IF_ERROR(CheckReplyBytes(schema, params, 1, context_.reply_bytes_max));
    params.deadline = DeadlineOf(*call);
    TESSERA_ASSIGN_OR_RETURN(
        const CallMemory::Lease lease,
        context_.memory.Take(ReplyMemoryBytes(schema, params, 1), params.deadline));
    CancellationWatch::Call cancellation(context_.cancellations, *call);
    params.cancelled = cancellation.flag();
    absl::StatusOr<db::SearchResult> result;
    if (request->query_case() == v1::SearchRequest::kPoint) {
      absl::StatusOr<base::PointId> id = FromProto(request->point());
      if (!id.ok()) return BlameField(id.status(), "point");
      result = SearchNearPoint(*collection, *id, params);
    } else {
      TESSERA_ASSIGN_OR_RETURN(const std::vector<float> query, OneQuery(**field, *request));
      result = collection->Search(query, params);
    }
    if (!result.ok()) return BlameIfInvalid(result.status(), "params");
    ToProto(schema, *std::move(result), response);
    response->set_time(watch.Seconds());
    if (params.with.payload && response->ByteSizeLong() > context_.reply_bytes_max) {
      return ReplyTooLong(context_.reply_bytes_max);
    }
    return absl::OkStatus();
  });
}

grpc::Status SearchService::SearchBatch(grpc::ServerContext* call,
                                        const v1::SearchBatchRequest* request,
                                        v1::SearchBatchResponse* response) {
  return Answer([&]() -> absl::Status {
    const Stopwatch watch;
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(request->collection()));
    const base::CollectionSchema& schema = collection->schema();
    const absl::StatusOr<const base::VectorFieldSchema*> field =
        FindField(schema, request->queries().field());
    if (!field.ok()) return BlameField(field.status(), "queries.field");
    db::SearchParams params = ParamsFromProto(*request, request->queries().field());
    TESSERA_RETURN_IF_ERROR(CheckParams(params));
    TESSERA_ASSIGN_OR_RETURN(const std::vector<float> queries,
                             BatchQueries(**field, request->queries(), params.limit));
    const size_t count = queries.size() / (*field)->dim;
    TESSERA_RETURN_IF_ERROR(CheckReplyBytes(schema, params, count, context_.reply_bytes_max));
    params.deadline = DeadlineOf(*call);
    TESSERA_ASSIGN_OR_RETURN(
        const CallMemory::Lease lease,
        context_.memory.Take(ReplyMemoryBytes(schema, params, count), params.deadline));
    CancellationWatch::Call cancellation(context_.cancellations, *call);
    params.cancelled = cancellation.flag();

    for (size_t i = 0; i < count; ++i) response->add_results();
    std::atomic<uint64_t> reply_bytes{0};
    const absl::Status searched = collection->SearchBatch(
        queries, params, [&](size_t query, db::SearchResult result) -> absl::Status {
          v1::SearchResponse* out = response->mutable_results(static_cast<int>(query));
          out->set_time(result.seconds);
          ToProto(schema, std::move(result), out);
          if (!params.with.payload) return absl::OkStatus();
          const uint64_t bytes = out->ByteSizeLong();
          const uint64_t before = reply_bytes.fetch_add(bytes, std::memory_order_relaxed);
          if (before + bytes <= context_.reply_bytes_max) return absl::OkStatus();
          return ReplyTooLong(context_.reply_bytes_max);
        });
    if (!searched.ok()) return BlameIfInvalid(searched, "queries");
    response->set_time(watch.Seconds());
    return absl::OkStatus();
  });
}

}  // namespace tessera::api
