#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include <grpcpp/grpcpp.h>
#include <tessera/v1/collections.grpc.pb.h>
#include <tessera/v1/ingest.grpc.pb.h>
#include <tessera/v1/points.grpc.pb.h>
#include <tessera/v1/search.grpc.pb.h>

#include "absl/strings/str_cat.h"

#include "api/client.h"
#include "api/convert.h"
#include "api/filters/filter_value.h"
#include "api/on_cancel.h"
#include "api/status.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

v1::IngestMode ToProto(IngestMode mode) {
  switch (mode) {
    case IngestMode::kBulk:
      return v1::INGEST_MODE_BULK;
    case IngestMode::kUpsert:
      return v1::INGEST_MODE_UPSERT;
    case IngestMode::kAuto:
      break;
  }
  return v1::INGEST_MODE_AUTO;
}

// Of one message of an ingest: every server takes 4 MiB, and one point has 2 MiB at most.
constexpr size_t kBatchBytes = size_t{2} << 20;
// As much as the server allows; our channels take any.
constexpr uint64_t kReplyBytesWanted = UINT64_MAX;

// Reads the acknowledgements of an ingest while another thread writes to it.
class AckReader {
 public:
  using Stream = grpc::ClientReaderWriter<v1::IngestRequest, v1::IngestResponse>;

  AckReader(Stream& stream, const IngestOptions& options)
      : stream_(stream), options_(options), thread_([this] { Run(); }) {}
  AckReader(const AckReader&) = delete;
  AckReader& operator=(const AckReader&) = delete;
  ~AckReader() { Join(); }

  // Pre: the call has ended or is about to.
  void Join() {
    if (thread_.joinable()) thread_.join();
  }

  // After Join.
  const v1::IngestResponse& last() const { return last_; }

 private:
  void Run() {
    v1::IngestResponse response;
    while (stream_.Read(&response)) {
      last_ = response;
      if (options_.progress == nullptr) continue;
      options_.progress({.received = last_.received(),
                         .stored = last_.stored(),
                         .phase = last_.phase(),
                         .phase_done = last_.phase_done(),
                         .phase_total = last_.phase_total(),
                         .bulk = last_.bulk()});
    }
  }

  Stream& stream_;
  const IngestOptions& options_;
  v1::IngestResponse last_;
  std::thread thread_;
};

class RemoteClient : public Client {
 public:
  explicit RemoteClient(const std::shared_ptr<grpc::Channel>& channel)
      : collections_(v1::Collections::NewStub(channel)),
        points_(v1::Points::NewStub(channel)),
        search_(v1::Search::NewStub(channel)),
        ingest_(v1::Ingest::NewStub(channel)) {}

  absl::Status CreateCollection(const base::CollectionSchema& schema) override {
    v1::CreateCollectionRequest request;
    api::ToProto(schema, request.mutable_schema());
    v1::CreateCollectionResponse response;
    grpc::ClientContext context;
    return FromGrpc(collections_->Create(&context, request, &response));
  }

  absl::Status DropCollection(const std::string& name) override {
    v1::DropCollectionRequest request;
    request.set_collection(name);
    v1::DropCollectionResponse response;
    grpc::ClientContext context;
    return FromGrpc(collections_->Drop(&context, request, &response));
  }

  absl::StatusOr<std::vector<base::CollectionSchema>> ListCollections() override {
    TESSERA_ASSIGN_OR_RETURN(const v1::ListCollectionsResponse response, List());
    std::vector<base::CollectionSchema> schemas;
    for (const v1::CollectionSchema& schema : response.collections()) {
      TESSERA_ASSIGN_OR_RETURN(schemas.emplace_back(), FromProto(schema));
    }
    return schemas;
  }

  absl::StatusOr<db::CollectionStats> Describe(const std::string& name) override {
    TESSERA_ASSIGN_OR_RETURN(const v1::DescribeCollectionResponse response, DescribeProto(name));
    return FromProto(response);
  }

  absl::StatusOr<ClientMemory> Memory() override {
    TESSERA_ASSIGN_OR_RETURN(const v1::ListCollectionsResponse response, List());
    return ClientMemory{.limit_bytes = response.memory().limit_bytes(),
                        .used_bytes = response.memory().used_bytes(),
                        .resident_bytes = response.memory().resident_bytes()};
  }

  absl::StatusOr<db::CountResult> CountWhere(const std::string& name,
                                             const db::CountParams& params) override {
    v1::CountRequest request;
    request.set_collection(name);
    if (params.filter.has_value()) api::ToProto(*params.filter, request.mutable_filter());
    request.set_explain(params.explain);
    v1::CountResponse response;
    grpc::ClientContext context;
    TESSERA_RETURN_IF_ERROR(FromGrpc(points_->Count(&context, request, &response)));
    db::CountResult result{
        .count = response.count(), .warnings = WarningsOf(response), .explain = {}};
    if (response.has_explain()) result.explain = FromProto(response.explain());
    return result;
  }

  absl::StatusOr<db::ScrollPage> ScrollWhere(const std::string& name,
                                             const db::ScrollParams& params) override {
    v1::ScrollRequest request;
    request.set_collection(name);
    if (params.offset.has_value()) api::ToProto(*params.offset, request.mutable_offset());
    request.set_limit(params.limit);
    if (params.filter.has_value()) api::ToProto(*params.filter, request.mutable_filter());
    request.set_with_payload(params.with.payload);
    request.set_with_vectors(params.with.vectors);
    request.set_reply_bytes_max(params.with.bytes_max);
    v1::ScrollResponse response;
    grpc::ClientContext context;
    TESSERA_RETURN_IF_ERROR(FromGrpc(points_->Scroll(&context, request, &response)));
    db::ScrollPage page;
    for (const v1::RetrievedPoint& point : response.points()) {
      TESSERA_ASSIGN_OR_RETURN(page.points.emplace_back(),
                               FromProto(point, params.with.payload_as_text));
    }
    if (response.has_next_offset()) {
      TESSERA_ASSIGN_OR_RETURN(page.next_offset, FromProto(response.next_offset()));
    }
    page.warnings = WarningsOf(response);
    return page;
  }

  absl::StatusOr<db::FacetResult> Facet(const std::string& name,
                                        const db::FacetParams& params) override {
    v1::FacetRequest request;
    request.set_collection(name);
    request.set_path(params.path);
    request.set_limit(params.limit);
    if (params.filter.has_value()) api::ToProto(*params.filter, request.mutable_filter());
    v1::FacetResponse response;
    grpc::ClientContext context;
    TESSERA_RETURN_IF_ERROR(FromGrpc(points_->Facet(&context, request, &response)));
    db::FacetResult result{.values = {},
                           .distinct = response.distinct(),
                           .points = response.points(),
                           .warnings = WarningsOf(response)};
    for (const v1::FacetValue& value : response.values()) {
      TESSERA_ASSIGN_OR_RETURN(base::Value scalar, ScalarFromProto(value.value(), "values"));
      result.values.push_back({.value = std::move(scalar), .count = value.count()});
    }
    return result;
  }

  absl::StatusOr<db::ChangeResult> DeleteWhere(const std::string& name,
                                               const db::FilterText& filter) override {
    v1::DeleteRequest request;
    request.set_collection(name);
    api::ToProto(filter, request.mutable_filter());
    v1::DeleteResponse response;
    grpc::ClientContext context;
    TESSERA_RETURN_IF_ERROR(FromGrpc(points_->Delete(&context, request, &response)));
    return db::ChangeResult{.points = response.deleted(), .warnings = WarningsOf(response)};
  }

  absl::StatusOr<db::ChangeResult> SetPayloadWhere(const std::string& name,
                                                   const db::FilterText& filter,
                                                   const base::Value& payload) override {
    v1::SetPayloadRequest request;
    request.set_collection(name);
    api::ToProto(filter, request.mutable_filter());
    request.set_payload(payload.ToJson());
    v1::SetPayloadResponse response;
    grpc::ClientContext context;
    TESSERA_RETURN_IF_ERROR(FromGrpc(points_->SetPayload(&context, request, &response)));
    return db::ChangeResult{.points = response.updated(), .warnings = WarningsOf(response)};
  }

  absl::StatusOr<uint64_t> SetPayload(const std::string& name, std::span<const base::PointId> ids,
                                      const base::Value& payload) override {
    v1::SetPayloadRequest request;
    request.set_collection(name);
    for (const base::PointId& id : ids) api::ToProto(id, request.add_ids());
    request.set_payload(payload.ToJson());
    v1::SetPayloadResponse response;
    grpc::ClientContext context;
    TESSERA_RETURN_IF_ERROR(FromGrpc(points_->SetPayload(&context, request, &response)));
    return response.updated();
  }

  absl::StatusOr<uint64_t> Delete(const std::string& name,
                                  std::span<const base::PointId> ids) override {
    v1::DeleteRequest request;
    request.set_collection(name);
    for (const base::PointId& id : ids) api::ToProto(id, request.add_ids());
    v1::DeleteResponse response;
    grpc::ClientContext context;
    TESSERA_RETURN_IF_ERROR(FromGrpc(points_->Delete(&context, request, &response)));
    return response.deleted();
  }

  absl::StatusOr<std::vector<db::StoredPoint>> Get(const std::string& name,
                                                   std::span<const base::PointId> ids,
                                                   db::Projection with) override {
    v1::GetRequest request;
    request.set_collection(name);
    for (const base::PointId& id : ids) api::ToProto(id, request.add_ids());
    request.set_with_payload(with.payload);
    request.set_with_vectors(with.vectors);
    request.set_reply_bytes_max(with.bytes_max);
    v1::GetResponse response;
    grpc::ClientContext context;
    TESSERA_RETURN_IF_ERROR(FromGrpc(points_->Get(&context, request, &response)));
    std::vector<db::StoredPoint> points;
    for (const v1::RetrievedPoint& point : response.points()) {
      TESSERA_ASSIGN_OR_RETURN(points.emplace_back(), FromProto(point, with.payload_as_text));
    }
    return points;
  }

  absl::StatusOr<db::SearchResult> Search(const std::string& name, std::span<const float> query,
                                          const db::SearchParams& params) override {
    v1::SearchRequest request;
    v1::Vector* vector = request.mutable_vector();
    vector->set_type(v1::ELEMENT_TYPE_F32);
    vector->set_data(query.data(), query.size_bytes());
    return Send(name, params, &request);
  }

  absl::StatusOr<db::SearchResult> SearchNear(const std::string& name, const base::PointId& id,
                                              const db::SearchParams& params) override {
    v1::SearchRequest request;
    api::ToProto(id, request.mutable_point());
    return Send(name, params, &request);
  }

  absl::StatusOr<std::vector<db::SearchResult>> SearchBatch(
      const std::string& name, std::span<const float> queries,
      const db::SearchParams& params) override {
    v1::SearchBatchRequest request;
    request.set_collection(name);
    v1::VectorColumn* column = request.mutable_queries();
    column->set_field(params.field);
    column->set_type(v1::ELEMENT_TYPE_F32);
    column->set_data(queries.data(), queries.size_bytes());
    ParamsToProto(params, &request);
    request.set_reply_bytes_max(kReplyBytesWanted);
    v1::SearchBatchResponse response;
    grpc::ClientContext context;
    SetDeadline(params, &context);
    TESSERA_RETURN_IF_ERROR(FromGrpc(search_->SearchBatch(&context, request, &response)));
    std::vector<db::SearchResult> results;
    results.reserve(static_cast<size_t>(response.results_size()));
    for (const v1::SearchResponse& result : response.results()) {
      TESSERA_ASSIGN_OR_RETURN(results.emplace_back(), FromProto(result));
    }
    return results;
  }

  absl::StatusOr<IngestSummary> Ingest(const std::string& name, const db::PointSource& source,
                                       const IngestOptions& options) override {
    TESSERA_ASSIGN_OR_RETURN(const v1::DescribeCollectionResponse described, DescribeProto(name));
    TESSERA_ASSIGN_OR_RETURN(const base::CollectionSchema schema, FromProto(described.schema()));
    grpc::ClientContext context;
    const std::unique_ptr<AckReader::Stream> stream = ingest_->Ingest(&context);
    v1::IngestRequest begin;
    begin.mutable_begin()->set_collection(name);
    begin.mutable_begin()->set_mode(ToProto(options.mode));
    begin.mutable_begin()->set_ack(api::ToProto(options.ack));
    begin.mutable_begin()->set_threads(static_cast<uint32_t>(std::max(0, options.threads)));
    stream->Write(begin);
    const OnCancel cancel(options.cancelled, [&context] { context.TryCancel(); });
    AckReader acks(*stream, options);
    const absl::Status sent = SendPoints(schema, source, *stream);
    if (!sent.ok()) context.TryCancel();  // the server drops a bulk load
    stream->WritesDone();
    acks.Join();
    const absl::Status answered = FromGrpc(stream->Finish());
    TESSERA_RETURN_IF_ERROR(sent);
    TESSERA_RETURN_IF_ERROR(answered);
    if (!acks.last().done()) return absl::InternalError("the server ended an ingest unfinished");
    return IngestSummary{.stored = acks.last().stored(),
                         .replaced = acks.last().replaced(),
                         .bulk = acks.last().bulk()};
  }

  absl::Status Close() override { return absl::OkStatus(); }

 private:
  template <typename Response>
  static std::vector<std::string> WarningsOf(const Response& response) {
    return {response.warnings().begin(), response.warnings().end()};
  }

  static void SetDeadline(const db::SearchParams& params, grpc::ClientContext* context) {
    if (params.deadline.never()) return;
    const int64_t left = absl::ToInt64Nanoseconds(params.deadline.Left());
    context->set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                       gpr_time_from_nanos(left, GPR_TIMESPAN)));
  }

  absl::StatusOr<v1::ListCollectionsResponse> List() {
    v1::ListCollectionsResponse response;
    grpc::ClientContext context;
    TESSERA_RETURN_IF_ERROR(FromGrpc(collections_->List(&context, {}, &response)));
    return response;
  }

  absl::StatusOr<v1::DescribeCollectionResponse> DescribeProto(const std::string& name) {
    v1::DescribeCollectionRequest request;
    request.set_collection(name);
    v1::DescribeCollectionResponse response;
    grpc::ClientContext context;
    TESSERA_RETURN_IF_ERROR(FromGrpc(collections_->Describe(&context, request, &response)));
    return response;
  }

  absl::StatusOr<db::SearchResult> Send(const std::string& name, const db::SearchParams& params,
                                        v1::SearchRequest* request) {
    // gRPC rounds what is left up to a millisecond.
    if (params.deadline.Passed()) {
      return absl::DeadlineExceededError("the deadline passed before the call was sent");
    }
    request->set_collection(name);
    request->set_field(params.field);
    ParamsToProto(params, request);
    request->set_reply_bytes_max(kReplyBytesWanted);
    v1::SearchResponse response;
    grpc::ClientContext context;
    SetDeadline(params, &context);
    TESSERA_RETURN_IF_ERROR(FromGrpc(search_->Search(&context, *request, &response)));
    return FromProto(response);
  }

  // Writes all of `source`. A write the server no longer takes ends it: the call's status says why.
  static absl::Status SendPoints(const base::CollectionSchema& schema,
                                 const db::PointSource& source, AckReader::Stream& stream) {
    uint64_t sent = 0;
    std::vector<db::Point> points;
    v1::IngestRequest request;
    for (;;) {
      points.clear();
      TESSERA_RETURN_IF_ERROR(source(&points));
      if (points.empty()) break;
      std::span<const db::Point> left = points;
      while (!left.empty()) {
        request.mutable_batch()->Clear();
        left = left.subspan(
            ToBatch(schema, left, kBatchBytes, request.mutable_batch()->mutable_batch()));
        if (!stream.Write(request)) return absl::OkStatus();
      }
      sent += points.size();
    }
    request.mutable_finish()->set_points(sent);
    stream.Write(request);
    return absl::OkStatus();
  }

  const std::unique_ptr<v1::Collections::Stub> collections_;
  const std::unique_ptr<v1::Points::Stub> points_;
  const std::unique_ptr<v1::Search::Stub> search_;
  const std::unique_ptr<v1::Ingest::Stub> ingest_;
};

}  // namespace

std::unique_ptr<Client> NewRemoteClient(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  return std::make_unique<RemoteClient>(
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
}

}  // namespace tessera::api
