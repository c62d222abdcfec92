// Every call at its worst shape, sixteen at once, against a real server of 256 MiB in a memory cgroup
// of that and a tenth: it may refuse, it may not die.
//
// TESSERA_WORST_SHAPES=long: more data, and every shape several times.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include <grpcpp/grpcpp.h>
#include <tessera/v1/collections.grpc.pb.h>
#include <tessera/v1/ingest.grpc.pb.h>
#include <tessera/v1/points.grpc.pb.h>
#include <tessera/v1/search.grpc.pb.h>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "tests/api/cli_process.h"
#include "tests/support/temp_dir.h"

namespace tessera::api {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kLimit = 256 * kMiB;
constexpr int kClients = 16;
constexpr uint32_t kDim = 16;
constexpr size_t kVectorBytes = kDim * sizeof(float);

// A memory cgroup of our own, or none.
class Cgroup {
 public:
  explicit Cgroup(uint64_t limit) {
    const std::string name = absl::StrCat("/tessera_worst_", ::getpid());
    for (const auto& [root, file] :
         {std::pair<std::string, std::string>("/sys/fs/cgroup/memory", "/memory.limit_in_bytes"),
          {"/sys/fs/cgroup", "/memory.max"}}) {
      const std::string path = root + name;
      if (::mkdir(path.c_str(), 0755) != 0) continue;
      std::ofstream out(path + file);
      out << limit << std::flush;
      if (out.good()) {
        path_ = path;
        return;
      }
      ::rmdir(path.c_str());
    }
  }
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;
  ~Cgroup() {
    if (!path_.empty()) ::rmdir(path_.c_str());
  }
  bool made() const { return !path_.empty(); }
  bool Take(pid_t pid) const {
    std::ofstream out(path_ + "/cgroup.procs");
    out << pid << std::flush;
    return out.good();
  }

 private:
  std::string path_;
};

uint64_t AnonymousBytes(pid_t pid) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  std::string key;
  while (status >> key) {
    uint64_t kibibytes = 0;
    if (key == "RssAnon:" && status >> kibibytes) return kibibytes * 1024;
    std::getline(status, key);
  }
  return 0;
}

std::string SmallNumbers(size_t bytes) {
  std::string payload = R"({"a":[1)";
  while (payload.size() + 4 < bytes) payload += ",1";
  return payload + "]}";
}

std::string Vectors(size_t count) {
  std::string data;
  for (size_t i = 0; i < count * kDim; ++i) {
    const auto value = static_cast<float>(i * 2654435761U % 1000);
    data.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  return data;
}

// The calls of one client over a connection of its own.
struct Client {
  explicit Client(const std::string& address) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto channel =
        grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
    collections = v1::Collections::NewStub(channel);
    points = v1::Points::NewStub(channel);
    search = v1::Search::NewStub(channel);
    ingest = v1::Ingest::NewStub(channel);
  }
  std::unique_ptr<v1::Collections::Stub> collections;
  std::unique_ptr<v1::Points::Stub> points;
  std::unique_ptr<v1::Search::Stub> search;
  std::unique_ptr<v1::Ingest::Stub> ingest;
};

using Shape = std::function<grpc::Status(Client&)>;

template <typename Stub, typename Request, typename Response>
Shape Unary(std::unique_ptr<Stub> Client::*stub,
            grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
            Request request) {
  const auto shared = std::make_shared<Request>(std::move(request));
  return [=](Client& client) {
    grpc::ClientContext context;
    Response response;
    return ((*(client.*stub)).*method)(&context, *shared, &response);
  };
}

class WorstShapes : public testing::Test {
 protected:
  void SetUp() override {
    const char* const form = std::getenv("TESSERA_WORST_SHAPES");
    long_ = form != nullptr && std::string(form) == "long";
    cgroup_ = std::make_unique<Cgroup>(kLimit / 10 * 11);
    if (!cgroup_->made()) GTEST_SKIP() << "no memory cgroup can be made here";
    server_ = std::make_unique<ChildProcess>(
        std::vector<std::string>{"serve", "--data", dir_.path() + "/data", "--listen",
                                 "127.0.0.1:0", "--memory-limit", "256MiB"});
    ASSERT_TRUE(cgroup_->Take(server_->pid()));
    const std::string ready = server_->ReadLine();
    const size_t begin = ready.find("127.0.0.1:");
    ASSERT_NE(begin, std::string::npos) << ready;
    address_ = ready.substr(begin, ready.find(' ', begin) - begin);
    Fill();
  }
  void TearDown() override { server_.reset(); }

  // Points with payloads of a megabyte: small numbers, or one long text.
  void Fill() {
    Client client(address_);
    v1::CreateCollectionRequest create;
    create.mutable_schema()->set_name("c");
    v1::VectorField* field = create.mutable_schema()->add_vectors();
    field->set_dim(kDim);
    field->set_metric(v1::METRIC_L2);
    grpc::ClientContext context;
    v1::CreateCollectionResponse created;
    ASSERT_TRUE(client.collections->Create(&context, create, &created).ok());
    points_ = long_ ? 2500 : 120;
    const std::string numbers = SmallNumbers(1'000'000);
    const std::string text = absl::StrCat(R"({"a":")", std::string(1'000'000, 'x'), R"("})");
    for (uint64_t id = 0; id < points_; ++id) {
      v1::UpsertRequest request;
      request.set_collection("c");
      request.mutable_batch()->mutable_ids()->add_num(id);
      request.mutable_batch()->add_vectors()->set_data(Vectors(1));
      request.mutable_batch()->add_payloads(id % 2 == 0 ? numbers : text);
      grpc::ClientContext one;
      v1::UpsertResponse response;
      const grpc::Status status = client.points->Upsert(&one, request, &response);
      ASSERT_TRUE(status.ok()) << status.error_message();
    }
  }

  // Runs the shape for all clients at once and prints what came of it.
  void Run(const std::string& name, const Shape& shape) {
    std::map<int, int> codes;
    std::mutex mu;
    std::string text;
    std::atomic<bool> done{false};
    uint64_t peak = 0;
    std::thread watch([&] {
      while (!done) {
        peak = std::max(peak, AnonymousBytes(server_->pid()));
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    });
    std::vector<std::thread> clients;
    for (int i = 0; i < kClients; ++i) {
      clients.emplace_back([&] {
        Client client(address_);
        for (int round = 0; round < (long_ ? 3 : 1); ++round) {
          const grpc::Status status = shape(client);
          const std::lock_guard<std::mutex> lock(mu);
          ++codes[status.error_code()];
          if (!status.ok()) text = status.error_message();
        }
      });
    }
    for (std::thread& client : clients) client.join();
    done = true;
    watch.join();
    std::string counts;
    for (const auto& [code, count] : codes) absl::StrAppend(&counts, " ", code, ":", count);
    std::printf("%-40s peak %4llu MiB  codes%s  %s\n", name.c_str(),
                static_cast<unsigned long long>(peak / kMiB), counts.c_str(),
                text.substr(0, 110).c_str());
    std::fflush(stdout);
    for (const auto& [code, count] : codes) {
      EXPECT_TRUE(code == grpc::StatusCode::OK || code == grpc::StatusCode::RESOURCE_EXHAUSTED ||
                  code == grpc::StatusCode::INVALID_ARGUMENT || code == grpc::StatusCode::NOT_FOUND)
          << name << ": code " << code << ", " << text;
    }
    Client other(address_);
    grpc::ClientContext context;
    v1::CountRequest request;
    request.set_collection("c");
    v1::CountResponse response;
    ASSERT_TRUE(other.points->Count(&context, request, &response).ok()) << "killed by " << name;
  }

  TempDir dir_;
  bool long_ = false;
  uint64_t points_ = 0;
  std::unique_ptr<Cgroup> cgroup_;
  std::unique_ptr<ChildProcess> server_;
  std::string address_;
};

template <typename Request>
Request For(const std::string& collection = "c") {
  Request request;
  request.set_collection(collection);
  return request;
}

TEST_F(WorstShapes, Upserts) {
  const auto upsert = [](v1::UpsertRequest request) {
    return Unary<v1::Points::Stub>(&Client::points, &v1::Points::Stub::Upsert, std::move(request));
  };
  auto request = For<v1::UpsertRequest>();
  for (int i = 0; i < (2 << 20); ++i) request.add_points();
  Run("Upsert of 4 MiB of empty points", upsert(request));

  request = For<v1::UpsertRequest>();
  for (uint64_t i = 0; i < 100'000; ++i) request.mutable_batch()->mutable_ids()->add_num(i);
  request.mutable_batch()->add_vectors()->set_data(Vectors(100'000));
  Run("Upsert of 100,000 points", upsert(request));

  request = For<v1::UpsertRequest>();
  for (uint64_t i = 0; i < 14; ++i) {
    request.mutable_batch()->mutable_ids()->add_num(1'000'000 + i);
    request.mutable_batch()->add_payloads(SmallNumbers(1'000'000));
  }
  request.mutable_batch()->add_vectors()->set_data(Vectors(14));
  Run("Upsert of 14 MB of small numbers", upsert(request));
  request.mutable_batch()->mutable_payloads()->DeleteSubrange(6, 8);
  request.mutable_batch()->mutable_ids()->mutable_num()->Truncate(6);
  request.mutable_batch()->mutable_vectors(0)->set_data(Vectors(6));
  Run("Upsert of 6 MB of small numbers", upsert(request));

  request = For<v1::UpsertRequest>();
  for (uint64_t i = 0; i < 200'000; ++i) {
    v1::Point* point = request.add_points();
    point->mutable_id()->set_num(i);
    point->mutable_vector()->set_data("");
  }
  Run("Upsert of 200,000 points without vectors", upsert(request));

  request = For<v1::UpsertRequest>();
  for (int i = 0; i < 1'000'000; ++i) (*request.add_points()->mutable_vectors())[""];
  Run("Upsert of a million empty maps", upsert(request));
}

TEST_F(WorstShapes, Ids) {
  auto remove = For<v1::DeleteRequest>();
  for (int i = 0; i < (2 << 20); ++i) remove.add_ids();
  Run("Delete of 4 MiB of empty ids",
      Unary<v1::Points::Stub>(&Client::points, &v1::Points::Stub::Delete, remove));
  remove.mutable_ids()->DeleteSubrange(0, remove.ids_size());
  for (uint64_t i = 0; i < 100'000; ++i) remove.add_ids()->set_num(1'000'000'000 + i);
  Run("Delete of 100,000 ids",
      Unary<v1::Points::Stub>(&Client::points, &v1::Points::Stub::Delete, remove));

  auto get = For<v1::GetRequest>();
  for (uint64_t i = 0; i < 1'000'000; ++i) get.add_ids()->set_num(i);
  Run("Get of a million ids",
      Unary<v1::Points::Stub>(&Client::points, &v1::Points::Stub::Get, get));
  get.clear_ids();
  for (uint64_t i = 0; i < 100'000; ++i) get.add_ids()->set_num(i % points_);
  Run("Get of 100,000 ids",
      Unary<v1::Points::Stub>(&Client::points, &v1::Points::Stub::Get, get));
  get.clear_ids();
  for (const uint64_t count : {3, 15, 60}) {
    get.clear_ids();
    for (uint64_t i = 0; i < count; ++i) get.add_ids()->set_num(2 * i);
    get.set_with_payload(true);
    get.set_with_vectors(true);
    get.set_reply_bytes_max(UINT64_MAX);
    Run(absl::StrCat("Get of ", count, " MB of small numbers"),
        Unary<v1::Points::Stub>(&Client::points, &v1::Points::Stub::Get, get));
  }

  auto set = For<v1::SetPayloadRequest>();
  for (uint64_t i = 0; i < 3000; ++i) set.add_ids()->set_num(i % points_);
  set.set_payload(absl::StrCat(R"({"b":")", std::string(1'000'000, 'y'), R"("})"));
  Run("SetPayload of 1 MB for 3,000 ids",
      Unary<v1::Points::Stub>(&Client::points, &v1::Points::Stub::SetPayload, set));
  set.set_payload(SmallNumbers(1'000'000));
  Run("SetPayload of 1 MB of small numbers",
      Unary<v1::Points::Stub>(&Client::points, &v1::Points::Stub::SetPayload, set));
  set.set_payload(R"({"b":1})");
  set.mutable_ids()->DeleteSubrange(6, set.ids_size() - 6);
  Run("SetPayload into 6 MB of small numbers",
      Unary<v1::Points::Stub>(&Client::points, &v1::Points::Stub::SetPayload, set));

  auto scroll = For<v1::ScrollRequest>();
  scroll.set_limit(10'000);
  scroll.set_with_payload(true);
  scroll.set_with_vectors(true);
  Run("Scroll of 10,000 points with payloads",
      Unary<v1::Points::Stub>(&Client::points, &v1::Points::Stub::Scroll, scroll));
  scroll.set_reply_bytes_max(UINT64_MAX);
  Run("Scroll of the longest reply",
      Unary<v1::Points::Stub>(&Client::points, &v1::Points::Stub::Scroll, scroll));
  Run("Count of a name of 4 MB",
      Unary<v1::Points::Stub>(&Client::points, &v1::Points::Stub::Count,
                              For<v1::CountRequest>(std::string(4'000'000, 'n'))));
}

TEST_F(WorstShapes, Searches) {
  const auto search = [](v1::SearchRequest request) {
    return Unary<v1::Search::Stub>(&Client::search, &v1::Search::Stub::Search, std::move(request));
  };
  auto request = For<v1::SearchRequest>();
  request.mutable_vector()->set_data(Vectors(1));
  request.set_limit(10'000);
  request.set_with_vectors(true);
  Run("Search for 10,000 hits with vectors", search(request));
  request.set_limit(2500);
  request.set_with_payload(true);
  Run("Search for 2,500 hits with payloads", search(request));
  request.set_reply_bytes_max(UINT64_MAX);
  Run("Search for the longest reply", search(request));
  request.set_limit(14);
  Run("Search for 14 MB of payloads", search(request));
  request = For<v1::SearchRequest>();
  request.mutable_vector()->mutable_values()->Resize(1'000'000, 1);
  Run("Search for a vector of 4 MB", search(request));

  const auto batch = [](v1::SearchBatchRequest queries) {
    return Unary<v1::Search::Stub>(&Client::search, &v1::Search::Stub::SearchBatch,
                                   std::move(queries));
  };
  auto queries = For<v1::SearchBatchRequest>();
  queries.mutable_queries()->set_data(Vectors(10'000));
  queries.set_limit(100);
  queries.set_reply_bytes_max(UINT64_MAX);
  Run("SearchBatch for a million hits", batch(queries));
  queries.mutable_queries()->set_data(Vectors(1000));
  Run("SearchBatch for 100,000 hits", batch(queries));
  queries.set_with_payload(true);
  Run("SearchBatch for 100,000 payloads", batch(queries));
}

TEST_F(WorstShapes, Collections) {
  v1::CreateCollectionRequest create;
  create.mutable_schema()->set_name(std::string(1'000'000, 'n'));
  for (int i = 0; i < 1'000'000; ++i) create.mutable_schema()->add_vectors();
  Run("Create of a million fields",
      Unary<v1::Collections::Stub>(&Client::collections, &v1::Collections::Stub::Create, create));
  v1::DropCollectionRequest drop;
  drop.set_collection(std::string(4'000'000, 'n'));
  Run("Drop of a name of 4 MB",
      Unary<v1::Collections::Stub>(&Client::collections, &v1::Collections::Stub::Drop, drop));
  v1::DescribeCollectionRequest describe;
  describe.set_collection(std::string(4'000'000, 'n'));
  Run("Describe of a name of 4 MB", Unary<v1::Collections::Stub>(
                                        &Client::collections, &v1::Collections::Stub::Describe,
                                        describe));
  Run("List", Unary<v1::Collections::Stub>(&Client::collections, &v1::Collections::Stub::List,
                                           v1::ListCollectionsRequest()));
}

TEST_F(WorstShapes, Ingests) {
  const auto ingest = [](v1::IngestMode mode, v1::IngestBatch batch, int messages) -> Shape {
    const auto request = std::make_shared<v1::IngestRequest>();
    *request->mutable_batch() = std::move(batch);
    return [=](Client& client) {
      grpc::ClientContext context;
      const auto stream = client.ingest->Ingest(&context);
      v1::IngestRequest begin;
      begin.mutable_begin()->set_collection("c");
      begin.mutable_begin()->set_mode(mode);
      stream->Write(begin);
      std::thread reader([&] {
        v1::IngestResponse answer;
        while (stream->Read(&answer)) continue;
      });
      for (int i = 0; i < messages && stream->Write(*request); ++i) continue;
      v1::IngestRequest finish;
      finish.mutable_finish()->set_points(0);  // an error: nothing of a load is to stay
      stream->Write(finish);
      stream->WritesDone();
      reader.join();
      return stream->Finish();
    };
  };
  v1::IngestBatch empty;
  for (int i = 0; i < (2 << 20); ++i) empty.add_points();
  Run("Ingest of 4 MiB of empty points", ingest(v1::INGEST_MODE_BULK, empty, 1));
  v1::IngestBatch numbers;
  for (uint64_t i = 0; i < 3; ++i) {
    numbers.mutable_batch()->mutable_ids()->add_num(2'000'000 + i);
    numbers.mutable_batch()->add_payloads(SmallNumbers(1'000'000));
  }
  numbers.mutable_batch()->add_vectors()->set_data(Vectors(3));
  Run("Ingest of 3 MB of small numbers", ingest(v1::INGEST_MODE_UPSERT, numbers, 3));
  v1::IngestBatch one;
  one.mutable_batch()->mutable_ids()->add_num(3'000'000);
  one.mutable_batch()->add_payloads(std::string("{\"a\":\"") + std::string(60'000, 'x') + "\"}");
  one.mutable_batch()->add_vectors()->set_data(Vectors(1));
  v1::IngestBatch many = one;
  for (int i = 0; i < 20'000; ++i) {
    many.mutable_batch()->mutable_ids()->add_num(3'000'001 + static_cast<uint64_t>(i));
    many.mutable_batch()->add_payloads("");
  }
  many.mutable_batch()->mutable_vectors(0)->set_data(Vectors(20'001));
  Run("Bulk loads of 20,001 points", ingest(v1::INGEST_MODE_BULK, many, 3));
  Run("Ingests of 60 KB payloads, held back", ingest(v1::INGEST_MODE_AUTO, one, 200));
}

}  // namespace
}  // namespace tessera::api
