#include "api/server.h"

#include <thread>

#include <grpcpp/generic/generic_stub.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "api/client.h"
#include "tests/api/grpc_fixture.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using testing::HasSubstr;

// Calls a method by name with bytes for bytes: the protocols of health and reflection come without
// headers.
grpc::Status CallBytes(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                       const std::string& request, std::string* response) {
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  const grpc::Slice slice(request);
  const grpc::ByteBuffer buffer(&slice, 1);
  const auto call = stub.PrepareUnaryCall(&context, method, buffer, &queue);
  grpc::ByteBuffer answer;
  grpc::Status status;
  call->StartCall();
  call->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  std::vector<grpc::Slice> slices;
  if (status.ok() && answer.Dump(&slices).ok()) {
    for (const grpc::Slice& part : slices) {
      response->append(reinterpret_cast<const char*>(part.begin()), part.size());
    }
  }
  return status;
}

class ServerTest : public GrpcTest {};

TEST_F(ServerTest, HealthOfEveryServiceIsServing) {
  for (const std::string service : {"", "tessera.v1.Collections", "tessera.v1.Points",
                                    "tessera.v1.Search", "tessera.v1.Ingest"}) {
    // HealthCheckRequest{service = 1}; HealthCheckResponse{status = 1}, SERVING = 1.
    const std::string request =
        service.empty()
            ? ""
            : absl::StrCat("\x0a", std::string(1, static_cast<char>(service.size())), service);
    std::string response;
    ASSERT_TRUE(CallBytes(channel_, "/grpc.health.v1.Health/Check", request, &response).ok());
    EXPECT_EQ(response, "\x08\x01") << service;
  }
  std::string response;
  EXPECT_EQ(
      CallBytes(channel_, "/grpc.health.v1.Health/Check", "\x0a\x01x", &response).error_code(),
      grpc::StatusCode::NOT_FOUND);
}

TEST_F(ServerTest, ReflectionListsTheServicesAndTheirFiles) {
  const std::string method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  // ServerReflectionRequest{list_services = 7}.
  std::string services;
  ASSERT_TRUE(CallBytes(channel_, method, absl::StrCat("\x3a\x01", "*"), &services).ok());
  for (const char* name : {"tessera.v1.Collections", "tessera.v1.Points", "tessera.v1.Search",
                           "tessera.v1.Ingest", "grpc.health.v1.Health"}) {
    EXPECT_THAT(services, HasSubstr(name));
  }
  // ServerReflectionRequest{file_containing_symbol = 4}.
  const std::string symbol = "tessera.v1.Search";
  std::string file;
  ASSERT_TRUE(
      CallBytes(channel_, method,
                absl::StrCat("\x22", std::string(1, static_cast<char>(symbol.size())), symbol),
                &file)
          .ok());
  EXPECT_THAT(file, HasSubstr("tessera/v1/search.proto"));
}

TEST_F(ServerTest, AddressesThatCannotBeListenedOnAreAnswered) {
  for (const std::string listen : {"", "localhost", ":1", "localhost:", "localhost:70000"}) {
    EXPECT_THAT(Server::Start(database_, {.listen = listen}).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("must be HOST:PORT")))
        << listen;
  }
  EXPECT_THAT(Server::Start(database_, {.listen = server_->address()}).status(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr(server_->address())));
}

TEST_F(ServerTest, ShutdownLetsARunningCallEnd) {
  Fill(3);
  collection().search_gate_closed = true;
  v1::SearchRequest request;
  request.set_collection("c");
  request.mutable_vector()->set_data(FloatBytes({1, 0, 0, 0}));
  std::thread caller([&] {
    grpc::ClientContext context;
    v1::SearchResponse response;
    EXPECT_TRUE(search_->Search(&context, request, &response).ok());
    EXPECT_EQ(response.result_size(), 3);
  });
  WaitUntil([&] { return collection().searches_waiting == 1; });
  std::thread stopper([&] { server_->Shutdown(absl::Minutes(5)); });
  // A new call is refused once the shutdown has begun.
  WaitUntil([&] {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30)));
    v1::CountRequest count;
    count.set_collection("c");
    v1::CountResponse response;
    return points_->Count(&context, count, &response).error_code() == grpc::StatusCode::UNAVAILABLE;
  });
  collection().search_gate_closed = false;
  caller.join();
  stopper.join();
}

TEST_F(ServerTest, ShutdownCancelsWhatOutlastsTheGrace) {
  Fill(3);
  collection().search_gate_closed = true;
  v1::SearchRequest request;
  request.set_collection("c");
  request.mutable_vector()->set_data(FloatBytes({1, 0, 0, 0}));
  std::thread caller([&] {
    grpc::ClientContext context;
    v1::SearchResponse response;
    EXPECT_FALSE(search_->Search(&context, request, &response).ok());
  });
  WaitUntil([&] { return collection().searches_waiting == 1; });
  server_->Shutdown(absl::ZeroDuration());
  EXPECT_EQ(collection().searches_cancelled, 1);
  caller.join();
  server_->Shutdown(absl::ZeroDuration());
}

TEST_F(ServerTest, ShutdownDuringABulkLoadLeavesNothing) {
  grpc::ClientContext context;
  const auto stream = ingest_->Ingest(&context);
  v1::IngestRequest request;
  request.mutable_begin()->set_collection("c");
  request.mutable_begin()->set_mode(v1::INGEST_MODE_BULK);
  stream->Write(request);
  v1::PointBatch* batch = request.mutable_batch()->mutable_batch();
  batch->mutable_ids()->add_num(1);
  batch->add_vectors()->set_data(FloatBytes({1, 2, 3, 4}));
  stream->Write(request);
  v1::IngestResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  server_->Shutdown(absl::ZeroDuration());
  EXPECT_EQ(collection().bulk_loads_failed, 1);
  EXPECT_EQ(collection().Count().value(), 0U);
  while (stream->Read(&answer)) continue;
  EXPECT_FALSE(stream->Finish().ok());
}

TEST(ServerOptions, ARequestIsAQuarterOfTheBuffersWithinItsBounds) {
  constexpr uint64_t kMiB = uint64_t{1} << 20;
  EXPECT_EQ(RequestBytesMax({}), 64 * kMiB);
  EXPECT_EQ(RequestBytesMax({.buffer_bytes_max = 96 * kMiB}), 24 * kMiB);
  EXPECT_EQ(RequestBytesMax({.buffer_bytes_max = 8 * kMiB}), 4 * kMiB);
  EXPECT_EQ(RequestBytesMax({.buffer_bytes_max = 4096 * kMiB}), 64 * kMiB);
}

}  // namespace
}  // namespace tessera::api
