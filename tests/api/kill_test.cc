// kill -9 of the real server under write load: whatever was acknowledged must be there afterwards.
//
// TESSERA_KILL_CYCLES: kills; 8 if not set.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "gtest/gtest.h"

#include "base/check.h"
#include "tessera/v1/collections.grpc.pb.h"
#include "tessera/v1/points.grpc.pb.h"
#include "tests/api/cli_process.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"

namespace tessera::api {
namespace {

constexpr int kDim = 16;
constexpr int kWriters = 2;
constexpr uint64_t kIdsPerWriter = 3000;
constexpr uint64_t kBatch = 20;

// The vector of a point tells which write it comes from.
std::vector<float> VectorOf(uint64_t id, uint64_t write) {
  std::vector<float> out(kDim, static_cast<float>(id));
  out[0] = static_cast<float>(write);
  return out;
}

// What one writer knows of its ids: the last acknowledged write of each (0: none, or deleted), and
// the writes whose fate is open.
struct Knowledge {
  std::map<uint64_t, uint64_t> acknowledged;
  std::map<uint64_t, uint64_t> open;  // 0: a deletion
};

class Server {
 public:
  explicit Server(const std::string& data)
      : process_({"serve", "--data", data, "--listen", "127.0.0.1:0", "--memory-limit", "192MiB"}) {
    const std::string ready = process_.ReadLine();
    const size_t at = ready.find("127.0.0.1:");
    TESSERA_CHECK(at != std::string::npos);
    const std::string address = ready.substr(at, ready.find(' ', at) - at);
    channel_ = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  }

  std::unique_ptr<v1::Points::Stub> points() { return v1::Points::NewStub(channel_); }
  std::unique_ptr<v1::Collections::Stub> collections() {
    return v1::Collections::NewStub(channel_);
  }
  void Kill() {
    process_.Signal(SIGKILL);
    process_.Wait();
  }

 private:
  ChildProcess process_;
  std::shared_ptr<grpc::Channel> channel_;
};

void Create(Server& server) {
  v1::CreateCollectionRequest request;
  request.mutable_schema()->set_name("c");
  v1::VectorField* field = request.mutable_schema()->add_vectors();
  field->set_dim(kDim);
  field->set_metric(v1::METRIC_L2);
  field->set_type(v1::ELEMENT_TYPE_F32);
  v1::CreateCollectionResponse response;
  grpc::ClientContext context;
  const grpc::Status status = server.collections()->Create(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
}

grpc::Status Upsert(v1::Points::Stub& stub, const std::vector<uint64_t>& ids, uint64_t write) {
  v1::UpsertRequest request;
  request.set_collection("c");
  for (const uint64_t id : ids) {
    v1::Point* point = request.add_points();
    point->mutable_id()->set_num(id);
    for (const float value : VectorOf(id, write)) point->mutable_vector()->add_values(value);
  }
  v1::UpsertResponse response;
  grpc::ClientContext context;
  return stub.Upsert(&context, request, &response);
}

grpc::Status Delete(v1::Points::Stub& stub, const std::vector<uint64_t>& ids) {
  v1::DeleteRequest request;
  request.set_collection("c");
  for (const uint64_t id : ids) request.add_ids()->set_num(id);
  v1::DeleteResponse response;
  grpc::ClientContext context;
  return stub.Delete(&context, request, &response);
}

// Writes until the server is gone.
void Write(Server& server, uint64_t first_id, uint64_t seed, uint64_t* next_write,
           Knowledge* knowledge) {
  const auto stub = server.points();
  std::mt19937_64 rng(seed);
  while (true) {
    std::vector<uint64_t> ids;
    while (ids.size() < kBatch) {
      const uint64_t id = first_id + rng() % kIdsPerWriter;
      if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
    }
    const uint64_t write = rng() % 5 == 0 ? 0 : (*next_write)++;
    for (const uint64_t id : ids) knowledge->open[id] = write;
    const grpc::Status status = write == 0 ? Delete(*stub, ids) : Upsert(*stub, ids, write);
    if (!status.ok()) return;
    for (const uint64_t id : ids) knowledge->acknowledged[id] = write;
    knowledge->open.clear();
  }
}

void Check(Server& server, uint64_t first_id, Knowledge* knowledge) {
  v1::GetRequest request;
  request.set_collection("c");
  request.set_with_vectors(true);
  for (uint64_t id = first_id; id < first_id + kIdsPerWriter; ++id) request.add_ids()->set_num(id);
  v1::GetResponse response;
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  const grpc::Status status = server.points()->Get(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  std::map<uint64_t, uint64_t> stored;
  for (const v1::RetrievedPoint& point : response.points()) {
    const v1::Vector& vector = point.vector();
    std::vector<float> values(vector.values().begin(), vector.values().end());
    if (values.empty()) {
      values.resize(vector.data().size() / sizeof(float));
      std::copy_n(vector.data().data(), vector.data().size(),
                  reinterpret_cast<char*>(values.data()));
    }
    ASSERT_EQ(values.size(), static_cast<size_t>(kDim));
    const auto write = static_cast<uint64_t>(values[0]);
    ASSERT_EQ(values, VectorOf(point.id().num(), write));
    stored[point.id().num()] = write;
  }
  // A batch whose fate is open is there whole or not at all.
  size_t done = 0;
  for (const auto& [id, write] : knowledge->open) done += stored[id] == write ? 1 : 0;
  size_t undone = 0;
  for (const auto& [id, write] : knowledge->open) {
    undone += stored[id] == knowledge->acknowledged[id] ? 1 : 0;
  }
  ASSERT_TRUE(done == knowledge->open.size() || undone == knowledge->open.size())
      << done << " of " << knowledge->open.size() << " points of a batch are written";
  if (undone != knowledge->open.size()) {
    for (const auto& [id, write] : knowledge->open) knowledge->acknowledged[id] = write;
  }
  knowledge->open.clear();
  for (const auto& [id, write] : knowledge->acknowledged) {
    ASSERT_EQ(stored[id], write) << "id " << id;
  }
}

TEST(Kill, NothingAcknowledgedIsLost) {
  const char* wanted = std::getenv("TESSERA_KILL_CYCLES");
  const int cycles = wanted == nullptr ? 8 : std::atoi(wanted);
  TempDir dir;
  std::mt19937_64 rng(TestSeed());
  Knowledge knowledge[kWriters];
  uint64_t next_write[kWriters] = {1, 1};
  uint64_t acknowledged = 0;
  for (int cycle = 0; cycle <= cycles; ++cycle) {
    SCOPED_TRACE(testing::Message() << "cycle " << cycle);
    Server server(dir.File("data"));
    if (cycle == 0) {
      Create(server);
    } else {
      for (int i = 0; i < kWriters; ++i) {
        Check(server, static_cast<uint64_t>(i) * 100'000, &knowledge[i]);
      }
    }
    if (testing::Test::HasFatalFailure() || cycle == cycles) break;
    std::vector<std::thread> writers;
    for (int i = 0; i < kWriters; ++i) {
      writers.emplace_back([&, i, seed = rng()] {
        Write(server, static_cast<uint64_t>(i) * 100'000, seed, &next_write[i], &knowledge[i]);
      });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100 + rng() % 400));
    server.Kill();
    for (std::thread& writer : writers) writer.join();
    acknowledged = next_write[0] + next_write[1];
  }
  EXPECT_GT(acknowledged, static_cast<uint64_t>(cycles) * 4);
  RecordProperty("acknowledged_batches", std::to_string(acknowledged));
}

}  // namespace
}  // namespace tessera::api
