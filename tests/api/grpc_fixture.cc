#include "tests/api/grpc_fixture.h"

#include <chrono>
#include <thread>

#include "base/check.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {

std::string FloatBytes(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

db::Point MakePoint(uint64_t id, const std::vector<float>& values, std::string_view payload) {
  db::Point point{.id = base::PointId(id), .vectors = {{"", FloatBytes(values)}}, .payload = {}};
  if (!payload.empty()) point.payload = base::ParseJson(payload).value();
  return point;
}

base::CollectionSchema FloatSchema(const std::string& name, uint32_t dim, base::Metric metric) {
  return {.name = name,
          .vectors = {{.name = "", .dim = dim, .metric = metric, .type = base::ElementType::kF32}}};
}

void WaitUntil(absl::FunctionRef<bool()> condition) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!condition()) {
    ASSERT_LT(std::chrono::steady_clock::now(), give_up) << "waited in vain";
    std::this_thread::yield();
  }
}

google::rpc::Status DetailsOf(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

std::string BlamedField(const grpc::Status& status) {
  const google::rpc::Status details = DetailsOf(status);
  for (const google::protobuf::Any& detail : details.details()) {
    google::rpc::BadRequest request;
    if (detail.UnpackTo(&request)) return request.field_violations(0).field();
  }
  return "";
}

void GrpcServerTest::StartOver(db::Database& database, ServerOptions options) {
  options.listen = "127.0.0.1:0";
  server_.reset();
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(database, options);
  ASSERT_OK(server);
  server_ = *std::move(server);
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  // Otherwise channels of one process to one address share a connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  channel_ =
      grpc::CreateCustomChannel(server_->address(), grpc::InsecureChannelCredentials(), arguments);
  collections_ = v1::Collections::NewStub(channel_);
  points_ = v1::Points::NewStub(channel_);
  search_ = v1::Search::NewStub(channel_);
  ingest_ = v1::Ingest::NewStub(channel_);
}

void GrpcTest::StartServer(ServerOptions options) {
  StartOver(database_, std::move(options));
  if (database_.ListCollections().empty()) {
    ASSERT_OK(database_.CreateCollection(FloatSchema("c", 4)));
  }
}

void GrpcTest::Fill(uint64_t count) {
  std::vector<db::Point> points;
  for (uint64_t id = 0; id < count; ++id) {
    points.push_back(MakePoint(id, {static_cast<float>(id), 0, 0, 0}));
  }
  ASSERT_OK(collection().Upsert(std::move(points), db::Ack::kMemory));
}

}  // namespace tessera::api
