// A real server on a free port over a FakeDatabase, with a stub of each service; or
// over another database.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/grpcpp.h>
#include <tessera/v1/collections.grpc.pb.h>
#include <tessera/v1/ingest.grpc.pb.h>
#include <tessera/v1/points.grpc.pb.h>
#include <tessera/v1/search.grpc.pb.h>

#include "absl/functional/function_ref.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "api/server.h"
#include "base/schema.h"
#include "tests/api/fake_database.h"

namespace tessera::api {

// Little-endian f32 bytes.
std::string FloatBytes(const std::vector<float>& values);

// A point of one f32 default field.
db::Point MakePoint(uint64_t id, const std::vector<float>& values, std::string_view payload = "");

base::CollectionSchema FloatSchema(const std::string& name, uint32_t dim,
                                   base::Metric metric = base::Metric::kL2);

// Gives other threads the processor until `condition` holds; fails the test after a minute.
void WaitUntil(absl::FunctionRef<bool()> condition);

// The google.rpc.Status in the details.
google::rpc::Status DetailsOf(const grpc::Status& status);
// What the BadRequest of the details blames; "" without one.
std::string BlamedField(const grpc::Status& status);

MATCHER_P2(GrpcStatusIs, code, message, "") {
  *result_listener << "code " << arg.error_code() << ": " << arg.error_message();
  return arg.error_code() == code &&
         testing::ExplainMatchResult(message, arg.error_message(), result_listener);
}

// A server over any database.
class GrpcServerTest : public testing::Test {
 protected:
  // `database` outlives the server; one that runs is stopped before.
  void StartOver(db::Database& database, ServerOptions options);

  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Collections::Stub> collections_;
  std::unique_ptr<v1::Points::Stub> points_;
  std::unique_ptr<v1::Search::Stub> search_;
  std::unique_ptr<v1::Ingest::Stub> ingest_;
};

class GrpcTest : public GrpcServerTest {
 protected:
  // Starts a server with collection "c": the default field of dimension 4, f32, L2.
  void SetUp() override { StartServer({}); }
  void TearDown() override { server_.reset(); }
  void StartServer(ServerOptions options);

  // Points with the ids 0 .. count - 1 and the vector (id, 0, 0, 0) into "c".
  void Fill(uint64_t count);

  FakeCollection& collection() { return *database_.collection("c"); }

  FakeDatabase database_;
};

}  // namespace tessera::api
