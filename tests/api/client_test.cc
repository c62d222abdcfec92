// One database behind both clients: what they answer must be equal.
#include "api/client.h"

#include <random>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "tests/api/grpc_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using testing::HasSubstr;

bool operator==(const db::FieldVector& a, const db::FieldVector& b) {
  return a.field == b.field && a.bytes == b.bytes;
}

void ExpectEqual(const std::vector<db::FieldVector>& a, const std::vector<db::FieldVector>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i] == b[i]);
}

void ExpectEqual(const db::SearchResult& a, const db::SearchResult& b) {
  ASSERT_EQ(a.hits.size(), b.hits.size());
  for (size_t i = 0; i < a.hits.size(); ++i) {
    EXPECT_EQ(a.hits[i].id, b.hits[i].id);
    EXPECT_EQ(a.hits[i].score, b.hits[i].score);
    EXPECT_EQ(a.hits[i].distance, b.hits[i].distance);
    EXPECT_EQ(a.hits[i].version, b.hits[i].version);
    EXPECT_EQ(a.hits[i].payload, b.hits[i].payload);
    ExpectEqual(a.hits[i].vectors, b.hits[i].vectors);
  }
  EXPECT_EQ(a.stats.estimated_recall, b.stats.estimated_recall);
  EXPECT_EQ(a.stats.lists_probed, b.stats.lists_probed);
  EXPECT_EQ(a.stats.codes_scanned, b.stats.codes_scanned);
  EXPECT_EQ(a.stats.survivors, b.stats.survivors);
  EXPECT_EQ(a.stats.reranked, b.stats.reranked);
  EXPECT_EQ(a.stats.bytes_read, b.stats.bytes_read);
}

template <typename T>
void ExpectSameError(const absl::StatusOr<T>& a, const absl::StatusOr<T>& b) {
  EXPECT_FALSE(a.ok());
  EXPECT_EQ(a.status().code(), b.status().code()) << a.status() << "\n" << b.status();
}

db::SearchParams Params(const std::string& field, uint32_t limit = 10) {
  db::SearchParams params;
  params.field = field;
  params.limit = limit;
  return params;
}

IngestOptions Mode(IngestMode mode) {
  IngestOptions options;
  options.mode = mode;
  return options;
}

constexpr uint32_t kImageDim = 5;
constexpr uint32_t kTextDim = 3;

// Collection "two" with two fields and ids of every kind.
class BothClients : public GrpcTest {
 protected:
  void SetUp() override {
    state_ = std::make_shared<FakeState>();
    local_ = NewLocalClient(std::make_unique<FakeDatabase>(state_));
    shared_ = std::make_unique<FakeDatabase>(state_);
    absl::StatusOr<std::unique_ptr<Server>> server =
        Server::Start(*shared_, {.listen = "127.0.0.1:0"});
    ASSERT_OK(server);
    own_server_ = *std::move(server);
    remote_ = NewRemoteClient(own_server_->address());
    ASSERT_OK(remote_->CreateCollection({.name = "two",
                                         .vectors = {{.name = "image",
                                                      .dim = kImageDim,
                                                      .metric = base::Metric::kL2,
                                                      .type = base::ElementType::kU8},
                                                     {.name = "text",
                                                      .dim = kTextDim,
                                                      .metric = base::Metric::kCosine,
                                                      .type = base::ElementType::kF16}}}));
  }

  base::PointId RandomId() {
    switch (rng_() % 3) {
      case 0:
        return base::PointId(rng_());
      case 1: {
        base::Uuid uuid;
        for (uint8_t& byte : uuid.bytes) byte = static_cast<uint8_t>(rng_());
        return base::PointId(uuid);
      }
      default:
        return base::PointId(absl::StrCat("id ", rng_()));
    }
  }

  std::vector<db::Point> RandomPoints(size_t count) {
    std::vector<db::Point> points;
    for (size_t i = 0; i < count; ++i) {
      std::string image(kImageDim, '\0');
      for (char& byte : image) byte = static_cast<char>(rng_());
      std::string text(2 * kTextDim, '\0');
      for (size_t at = 0; at < text.size(); at += 2) {
        text[at] = static_cast<char>(rng_());
        text[at + 1] = 0x3c;  // 1 .. 1.25
      }
      db::Point point{.id = RandomId(),
                      .vectors = {{"image", std::move(image)}, {"text", std::move(text)}},
                      .payload = {}};
      if (rng_() % 2 == 0) {
        point.payload =
            base::ParseJson(absl::StrCat(R"({"n":)", i, R"(,"list":[1.5,"x",null,true]})")).value();
      }
      ids_.push_back(point.id);
      points.push_back(std::move(point));
    }
    return points;
  }

  absl::StatusOr<IngestSummary> Ingest(Client& client, std::vector<db::Point> points,
                                       IngestOptions options = {}) {
    size_t next = 0;
    return client.Ingest(
        "two",
        [&](std::vector<db::Point>* batch) {
          batch->clear();
          for (; next < points.size() && batch->size() < 100; ++next) {
            batch->push_back(points[next]);
          }
          return absl::OkStatus();
        },
        options);
  }

  std::vector<float> RandomQuery(uint32_t dim) {
    std::vector<float> query(dim);
    for (float& value : query) value = static_cast<float>(rng_() % 1000) / 10;
    return query;
  }

  std::mt19937_64 rng_{TestSeed()};
  std::shared_ptr<FakeState> state_;
  std::unique_ptr<FakeDatabase> shared_;
  std::unique_ptr<Server> own_server_;
  std::unique_ptr<Client> local_;
  std::unique_ptr<Client> remote_;
  std::vector<base::PointId> ids_;
};

TEST_F(BothClients, WhatOneIngestsTheOtherReads) {
  ASSERT_OK(Ingest(*remote_, RandomPoints(250)));
  ASSERT_OK(Ingest(*local_, RandomPoints(250)));
  const db::Projection all = {.payload = true, .vectors = true};
  ASSERT_OK_AND_ASSIGN(const auto from_local, local_->Get("two", ids_, all));
  ASSERT_OK_AND_ASSIGN(const auto from_remote, remote_->Get("two", ids_, all));
  ASSERT_EQ(from_local.size(), 500U);
  ASSERT_EQ(from_remote.size(), 500U);
  for (size_t i = 0; i < 500; ++i) {
    EXPECT_EQ(from_local[i].id, ids_[i]);
    EXPECT_EQ(from_remote[i].id, ids_[i]);
    EXPECT_EQ(from_local[i].version, from_remote[i].version);
    EXPECT_EQ(from_local[i].payload, from_remote[i].payload);
    ExpectEqual(from_local[i].vectors, from_remote[i].vectors);
  }
}

TEST_F(BothClients, IngestOfOneSourceEndsTheSameWay) {
  for (Client* client : {local_.get(), remote_.get()}) {
    ASSERT_OK_AND_ASSIGN(IngestSummary summary, Ingest(*client, RandomPoints(kBulkPointsMin), {}));
    EXPECT_TRUE(summary.bulk);
    EXPECT_EQ(summary.stored, kBulkPointsMin);
    IngestProgress last;
    IngestOptions options;
    options.progress = [&](const IngestProgress& progress) { last = progress; };
    ASSERT_OK_AND_ASSIGN(summary, Ingest(*client, RandomPoints(10), options));
    EXPECT_FALSE(summary.bulk);
    EXPECT_EQ(summary.stored, 10U);
    EXPECT_EQ(last.stored, 10U);
    EXPECT_EQ(last.received, 10U);
    EXPECT_EQ(last.phase, "upsert");
    ASSERT_OK(client->Delete("two", ids_));
    ids_.clear();
  }
  EXPECT_EQ(shared_->collection("two")->bulk_loads, 2);
}

TEST_F(BothClients, ASourceThatFailsEndsAnIngestWithItsError) {
  for (Client* client : {local_.get(), remote_.get()}) {
    int calls = 0;
    const auto source = [&](std::vector<db::Point>* batch) -> absl::Status {
      *batch = RandomPoints(5);
      return ++calls < 3 ? absl::OkStatus() : absl::DataLossError("torn");
    };
    EXPECT_THAT(client->Ingest("two", source, Mode(IngestMode::kBulk)).status(),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("torn")));
    EXPECT_EQ(client->Describe("two")->points, 0U);
  }
  // The server may hear of the end before the load begins; then there is none to fail.
  WaitUntil([&] {
    return shared_->collection("two")->bulk_loads_failed == shared_->collection("two")->bulk_loads;
  });
  EXPECT_GE(shared_->collection("two")->bulk_loads_failed, 1);
}

TEST_F(BothClients, AnIngestOfBatchesOverTheRequestLimitIsCutUp) {
  const std::string payload =
      absl::StrCat(R"({"a":")", std::string(size_t{900} << 10, 'x'), R"("})");
  std::vector<db::Point> points = RandomPoints(90);
  for (db::Point& point : points) point.payload = base::ParseJson(payload).value();
  ASSERT_OK_AND_ASSIGN(const IngestSummary summary,
                       Ingest(*remote_, points, Mode(IngestMode::kUpsert)));
  EXPECT_EQ(summary.stored, 90U);
  EXPECT_EQ(shared_->collection("two")->upserts, 45);
  ASSERT_OK_AND_ASSIGN(const auto stored,
                       local_->Get("two", ids_, {.payload = true, .vectors = true}));
  ASSERT_EQ(stored.size(), 90U);
  for (size_t i = 0; i < 90; ++i) {
    EXPECT_EQ(stored[i].payload, points[i].payload);
    ExpectEqual(stored[i].vectors, points[i].vectors);
  }
}

TEST_F(BothClients, SearchesAnswerTheSame) {
  ASSERT_OK(Ingest(*remote_, RandomPoints(300)));
  for (int round = 0; round < 30; ++round) {
    const bool image = rng_() % 2 == 0;
    db::SearchParams params = Params(image ? "image" : "text");
    params.limit = 1 + static_cast<uint32_t>(rng_() % 20);
    params.exact = rng_() % 2 == 0;
    params.with = {.payload = rng_() % 2 == 0, .vectors = rng_() % 2 == 0};
    if (rng_() % 3 == 0) params.score_threshold = image ? -30000.0F : 0.5F;
    const std::vector<float> query = RandomQuery(image ? kImageDim : kTextDim);
    ASSERT_OK_AND_ASSIGN(const db::SearchResult local, local_->Search("two", query, params));
    ASSERT_OK_AND_ASSIGN(const db::SearchResult remote, remote_->Search("two", query, params));
    ExpectEqual(local, remote);
    const base::PointId& id = ids_[rng_() % ids_.size()];
    ASSERT_OK_AND_ASSIGN(const db::SearchResult near, local_->SearchNear("two", id, params));
    ASSERT_OK_AND_ASSIGN(const db::SearchResult far, remote_->SearchNear("two", id, params));
    ExpectEqual(near, far);
    for (const db::Hit& hit : near.hits) EXPECT_NE(hit.id, id);
  }
}

TEST_F(BothClients, BatchesAnswerAsTheirQueriesOneByOne) {
  ASSERT_OK(Ingest(*local_, RandomPoints(100)));
  const std::vector<float> queries = RandomQuery(50 * kTextDim);
  const db::SearchParams params = Params("text", 5);
  ASSERT_OK_AND_ASSIGN(const auto local, local_->SearchBatch("two", queries, params));
  ASSERT_OK_AND_ASSIGN(const auto remote, remote_->SearchBatch("two", queries, params));
  ASSERT_EQ(local.size(), 50U);
  ASSERT_EQ(remote.size(), 50U);
  for (size_t i = 0; i < 50; ++i) {
    ASSERT_OK_AND_ASSIGN(
        const db::SearchResult one,
        local_->Search("two", std::span(queries).subspan(i * kTextDim, kTextDim), params));
    ExpectEqual(local[i], one);
    ExpectEqual(remote[i], one);
  }
}

TEST_F(BothClients, CollectionsAndStatisticsAreTheSame) {
  ASSERT_OK(Ingest(*local_, RandomPoints(17)));
  ASSERT_OK_AND_ASSIGN(const auto local_list, local_->ListCollections());
  ASSERT_OK_AND_ASSIGN(const auto remote_list, remote_->ListCollections());
  EXPECT_EQ(local_list, remote_list);
  ASSERT_OK_AND_ASSIGN(const db::CollectionStats local, local_->Describe("two"));
  ASSERT_OK_AND_ASSIGN(const db::CollectionStats remote, remote_->Describe("two"));
  EXPECT_EQ(local.schema, remote.schema);
  EXPECT_EQ(local.points, remote.points);
  ASSERT_EQ(local.fields.size(), remote.fields.size());
  for (size_t i = 0; i < local.fields.size(); ++i) {
    EXPECT_EQ(local.fields[i].schema, remote.fields[i].schema);
    EXPECT_EQ(local.fields[i].lists, remote.fields[i].lists);
    EXPECT_EQ(local.fields[i].absorbed_rows, remote.fields[i].absorbed_rows);
    EXPECT_EQ(local.fields[i].fresh_rows, remote.fields[i].fresh_rows);
    EXPECT_EQ(local.fields[i].memory_bytes, remote.fields[i].memory_bytes);
    EXPECT_EQ(local.fields[i].disk_bytes, remote.fields[i].disk_bytes);
    EXPECT_EQ(local.fields[i].default_nprobe, remote.fields[i].default_nprobe);
  }
  ASSERT_OK_AND_ASSIGN(const ClientMemory local_memory, local_->Memory());
  ASSERT_OK_AND_ASSIGN(const ClientMemory remote_memory, remote_->Memory());
  EXPECT_EQ(local_memory.limit_bytes, remote_memory.limit_bytes);
  EXPECT_EQ(local_memory.used_bytes, remote_memory.used_bytes);
  EXPECT_GT(remote_memory.resident_bytes, 0U);
}

TEST_F(BothClients, ErrorsHaveTheSameCode) {
  ASSERT_OK(Ingest(*local_, RandomPoints(5)));
  const db::SearchParams text = Params("text");
  const std::vector<float> query = RandomQuery(kTextDim);
  ExpectSameError(local_->Search("nobody", query, text), remote_->Search("nobody", query, text));
  ExpectSameError(local_->Search("two", query, {}), remote_->Search("two", query, {}));
  ExpectSameError(local_->Search("two", {}, text), remote_->Search("two", {}, text));
  const db::SearchParams wide = Params("text", base::kLimitMax + 1);
  ExpectSameError(local_->Search("two", query, wide), remote_->Search("two", query, wide));
  const base::PointId absent(std::string("absent"));
  ExpectSameError(local_->SearchNear("two", absent, text),
                  remote_->SearchNear("two", absent, text));
  ExpectSameError(local_->SearchBatch("two", {}, text), remote_->SearchBatch("two", {}, text));
  ExpectSameError(local_->Describe("nobody"), remote_->Describe("nobody"));
  ExpectSameError(local_->Delete("nobody", ids_), remote_->Delete("nobody", ids_));
  EXPECT_EQ(local_->DropCollection("nobody").code(), remote_->DropCollection("nobody").code());
  const base::CollectionSchema taken = FloatSchema("two", 4);
  EXPECT_EQ(local_->CreateCollection(taken).code(), remote_->CreateCollection(taken).code());
}

TEST_F(BothClients, TheDeadlineOfASearchIsHeld) {
  ASSERT_OK(Ingest(*local_, RandomPoints(5)));
  shared_->collection("two")->search_gate_closed = true;
  for (Client* client : {local_.get(), remote_.get()}) {
    db::SearchParams params = Params("text");
    params.deadline = base::Deadline::After(absl::Milliseconds(20));
    EXPECT_THAT(client->Search("two", RandomQuery(kTextDim), params).status(),
                StatusIs(absl::StatusCode::kDeadlineExceeded));
  }
  shared_->collection("two")->search_gate_closed = false;
}

TEST(RemoteClient, AServerThatIsNotThereIsUnavailable) {
  EXPECT_THAT(NewRemoteClient("127.0.0.1:1")->ListCollections().status(),
              StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace tessera::api
