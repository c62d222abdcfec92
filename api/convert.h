// Protobuf messages <-> the engine's types. What comes from the wire is checked, never asserted on.
//
// Threads: free functions without shared state.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <google/protobuf/repeated_ptr_field.h>
#include <tessera/v1/collections.pb.h>
#include <tessera/v1/points.pb.h>
#include <tessera/v1/search.pb.h>
#include <tessera/v1/types.pb.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "api/filters/convert_explain.h"
#include "api/filters/filter_tree.h"
#include "base/point_id.h"
#include "base/schema.h"
#include "base/types.h"
#include "base/value.h"
#include "db/database.h"

namespace tessera::api {

// --- Schema ---
v1::Metric ToProto(base::Metric metric);
v1::ElementType ToProto(base::ElementType type);
void ToProto(const base::CollectionSchema& schema, v1::CollectionSchema* out);
// Errors: kInvalidArgument for an unspecified or unknown metric or type; the rest is for Validate.
absl::StatusOr<base::CollectionSchema> FromProto(const v1::CollectionSchema& schema);
// kUnspecified is `unspecified`. Errors: kInvalidArgument.
absl::StatusOr<base::ElementType> FromProto(v1::ElementType type, base::ElementType unspecified);

// The field of that name. Errors: kInvalidArgument listing the names there are.
absl::StatusOr<const base::VectorFieldSchema*> FindField(const base::CollectionSchema& schema,
                                                         std::string_view name);

// --- Ids ---
void ToProto(const base::PointId& id, v1::PointId* out);
// Errors: kInvalidArgument: no kind, not a UUID, string empty or over kPointIdStringBytesMax.
absl::StatusOr<base::PointId> FromProto(const v1::PointId& id);
absl::StatusOr<std::vector<base::PointId>> FromProto(
    const google::protobuf::RepeatedPtrField<v1::PointId>& ids);

// --- Payloads: JSON text; "" is null. Points and hits take either of the engine's two forms and
// come out with text (those of a request) or values (those of a reply) ---
std::string ToPayloadText(const base::Value& payload);
absl::StatusOr<base::Value> FromPayloadText(std::string_view text);

// --- Writes ---
// Errors: kInvalidArgument naming `field` for a number that is none of the enum's.
absl::StatusOr<db::Ack> FromProto(v1::Ack ack, const std::string& field = "ack");
v1::Ack ToProto(db::Ack ack);
// Vectors come out in the field's element type.
// Errors: kInvalidArgument naming the field of the request: columns of different lengths, a vector
//         of another size or with a value its field cannot hold, more than kBatchPointsMax points.
absl::StatusOr<std::vector<db::Point>> PointsFromProto(
    const base::CollectionSchema& schema,
    const google::protobuf::RepeatedPtrField<v1::Point>& points, const v1::PointBatch& batch);
// Takes points from the front, at least one, while their vectors and payloads stay within
// `bytes_max`; returns how many.
// Pre: there is a point; each has a vector of every field of the schema; `out` is empty.
size_t ToBatch(const base::CollectionSchema& schema, std::span<const db::Point> points,
               size_t bytes_max, v1::PointBatch* out);

// --- Reads ---
void ToProto(const base::CollectionSchema& schema, db::StoredPoint&& point,
             v1::RetrievedPoint* out);
absl::StatusOr<db::StoredPoint> FromProto(const v1::RetrievedPoint& point,
                                          bool payload_as_text = false);

// --- Search ---
// One query as floats. Errors: kInvalidArgument (both forms, wrong size).
absl::StatusOr<std::vector<float>> QueryFromProto(const base::VectorFieldSchema& field,
                                                  const v1::Vector& vector);
inline constexpr size_t kBatchQueriesMax = 10'000;
// Whether `bytes` of elements of `type` are 1 .. kBatchQueriesMax queries of the field's dimension.
// Errors: kInvalidArgument.
absl::Status CheckBatch(const base::VectorFieldSchema& field, size_t bytes, base::ElementType type);
// Limit, parameters and projection, but the plan and the filter; ranges are the engine's to check.
template <typename Request>
db::SearchParams ParamsFromProto(const Request& request, std::string_view field) {
  db::SearchParams params;
  params.field = std::string(field);
  params.limit = request.limit() == 0 ? 10 : request.limit();
  params.exact = request.params().exact();
  params.recall_target = request.params().recall_target();
  params.nprobe = request.params().nprobe();
  params.oversampling = request.params().oversampling();
  if (request.has_score_threshold()) params.score_threshold = request.score_threshold();
  params.with = {.payload = request.with_payload(), .vectors = request.with_vectors()};
  params.explain = request.explain();
  return params;
}
// The reverse, for a client.
template <typename Request>
void ParamsToProto(const db::SearchParams& params, Request* request) {
  request->set_limit(params.limit);
  request->mutable_params()->set_exact(params.exact);
  request->mutable_params()->set_recall_target(params.recall_target);
  request->mutable_params()->set_nprobe(params.nprobe);
  request->mutable_params()->set_oversampling(params.oversampling);
  if (params.score_threshold.has_value()) request->set_score_threshold(*params.score_threshold);
  request->set_with_payload(params.with.payload);
  request->set_with_vectors(params.with.vectors);
  request->mutable_params()->set_plan(ToProto(params.plan));
  if (params.filter.has_value()) ToProto(*params.filter, request->mutable_filter());
  request->set_explain(params.explain);
}
void ToProto(const base::CollectionSchema& schema, db::Hit&& hit, v1::ScoredPoint* out);
void ToProto(const db::SearchStats& stats, v1::SearchUsage* out);
// What a result has beside its hits.
void RestToProto(const db::SearchResult& result, v1::SearchResponse* out);
void ToProto(const base::CollectionSchema& schema, db::SearchResult&& result,
             v1::SearchResponse* out);
absl::StatusOr<db::SearchResult> FromProto(const v1::SearchResponse& response);

// --- Statistics ---
void ToProto(const db::CollectionStats& stats, v1::DescribeCollectionResponse* out);
absl::StatusOr<db::CollectionStats> FromProto(const v1::DescribeCollectionResponse& response);

}  // namespace tessera::api
