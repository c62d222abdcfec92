// The services over the real engine: what it answers reaches the wire as the protos say.
#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <span>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "api/client.h"
#include "tests/api/grpc_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::api {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr uint32_t kDim = 16;
constexpr uint64_t kRows = 4000;

// Collection "c" over a data directory; a remote client beside the stubs.
class EngineTest : public GrpcServerTest {
 protected:
  void SetUp() override {
    db::DatabaseOptions options;
    options.memory_limit = uint64_t{256} << 20;
    options.threads = 2;
    ASSERT_OK_AND_ASSIGN(database_, db::Database::Open(directory_.File("data"), options));
    StartOver(*database_, {});
    client_ = NewRemoteClient(server_->address());
    ASSERT_OK(client_->CreateCollection(FloatSchema("c", kDim)));
    std::normal_distribution<float> normal;
    for (float& value : rows_) value = normal(rng_);
  }
  void TearDown() override {
    server_.reset();
    EXPECT_OK(database_->Close());
  }

  std::span<const float> Row(uint64_t row) const {
    return std::span(rows_).subspan(row * kDim, kDim);
  }

  // Points begin .. end - 1 in batches; ends with `last`.
  absl::StatusOr<IngestSummary> Ingest(uint64_t begin, uint64_t end, IngestMode mode,
                                       absl::Status last = absl::OkStatus()) {
    IngestOptions options;
    options.mode = mode;
    return client_->Ingest(
        "c",
        [&](std::vector<db::Point>* batch) {
          batch->clear();
          for (; begin < end && batch->size() < 500; ++begin) {
            batch->push_back(MakePoint(begin, {Row(begin).begin(), Row(begin).end()},
                                       absl::StrCat(R"({"row":)", begin, "}")));
          }
          return batch->empty() ? last : absl::OkStatus();
        },
        options);
  }

  std::set<uint64_t> Truth(std::span<const float> query, size_t limit) const {
    std::vector<std::pair<double, uint64_t>> all;
    for (uint64_t row = 0; row < kRows; ++row) {
      double distance = 0;
      for (size_t i = 0; i < kDim; ++i) {
        const double gap = double{query[i]} - Row(row)[i];
        distance += gap * gap;
      }
      all.emplace_back(distance, row);
    }
    std::sort(all.begin(), all.end());
    std::set<uint64_t> ids;
    for (size_t i = 0; i < limit; ++i) ids.insert(all[i].second);
    return ids;
  }

  void ExpectRefused(const v1::UpsertRequest& request, grpc::StatusCode code,
                     const std::string& field, const testing::Matcher<std::string>& message) {
    v1::UpsertResponse response;
    grpc::ClientContext context;
    const grpc::Status status = points_->Upsert(&context, request, &response);
    EXPECT_THAT(status, GrpcStatusIs(code, message));
    EXPECT_EQ(BlamedField(status), field);
    EXPECT_EQ(client_->Describe("c")->points, 0U) << "half applied";
  }

  static v1::UpsertRequest Request(const std::vector<std::vector<float>>& rows) {
    v1::UpsertRequest request;
    request.set_collection("c");
    v1::VectorColumn* column = request.mutable_batch()->add_vectors();
    for (size_t i = 0; i < rows.size(); ++i) {
      request.mutable_batch()->mutable_ids()->add_num(i);
      *column->mutable_data() += FloatBytes(rows[i]);
    }
    return request;
  }

  std::mt19937_64 rng_{TestSeed()};
  std::vector<float> rows_ = std::vector<float>(kRows * kDim);
  TempDir directory_;
  std::unique_ptr<db::Database> database_;
  std::unique_ptr<Client> client_;
};

TEST_F(EngineTest, ALoadedCollectionIsSearchedWithHighRecallOneByOneAndInBatches) {
  ASSERT_OK_AND_ASSIGN(const IngestSummary summary, Ingest(0, kRows, IngestMode::kAuto));
  EXPECT_TRUE(summary.bulk);
  EXPECT_EQ(summary.stored, kRows);
  constexpr size_t kQueries = 40;
  std::vector<float> queries(kQueries * kDim);
  std::normal_distribution<float> normal;
  for (float& value : queries) value = normal(rng_);
  const auto hits_in_truth = [&](const db::SearchResult& result, const std::set<uint64_t>& truth) {
    return std::count_if(result.hits.begin(), result.hits.end(),
                         [&](const auto& hit) { return truth.contains(*hit.id.number()); });
  };
  db::SearchParams params;
  db::SearchParams exact;
  exact.exact = true;
  ASSERT_OK_AND_ASSIGN(const auto batch, client_->SearchBatch("c", queries, params));
  ASSERT_EQ(batch.size(), kQueries);
  int64_t found = 0;
  for (size_t i = 0; i < kQueries; ++i) {
    const std::span<const float> query = std::span(queries).subspan(i * kDim, kDim);
    const std::set<uint64_t> truth = Truth(query, 10);
    found += hits_in_truth(batch[i], truth);
    ASSERT_OK_AND_ASSIGN(const auto one, client_->Search("c", query, params));
    ASSERT_EQ(one.hits.size(), batch[i].hits.size());
    for (size_t hit = 0; hit < one.hits.size(); ++hit) {
      EXPECT_EQ(one.hits[hit].id, batch[i].hits[hit].id);
      EXPECT_EQ(one.hits[hit].distance, batch[i].hits[hit].distance);
    }
    ASSERT_OK_AND_ASSIGN(const auto all, client_->Search("c", query, exact));
    EXPECT_EQ(hits_in_truth(all, truth), 10);
  }
  EXPECT_GE(found, kQueries * 9);  // the target is 0.95
}

TEST_F(EngineTest, WritesAreSeenByTheNextRead) {
  ASSERT_OK(Ingest(0, 3000, IngestMode::kBulk));
  ASSERT_OK_AND_ASSIGN(const IngestSummary summary, Ingest(3000, kRows, IngestMode::kAuto));
  EXPECT_FALSE(summary.bulk);
  const base::PointId id(3500);
  ASSERT_OK_AND_ASSIGN(const auto found, client_->Search("c", Row(3500), {}));
  EXPECT_EQ(found.hits.front().id, id);
  ASSERT_OK_AND_ASSIGN(auto stored,
                       client_->Get("c", {&id, 1}, {.payload = true, .vectors = true}));
  EXPECT_EQ(stored[0].payload.ToJson(), R"({"row":3500})");
  EXPECT_EQ(stored[0].vectors[0].bytes, FloatBytes({Row(3500).begin(), Row(3500).end()}));

  v1::SetPayloadRequest change;
  change.set_collection("c");
  change.add_ids()->set_num(3500);
  change.set_payload(R"({"row":null,"new":true})");
  v1::SetPayloadResponse changed;
  grpc::ClientContext set_context;
  ASSERT_TRUE(points_->SetPayload(&set_context, change, &changed).ok());
  EXPECT_EQ(changed.updated(), 1U);
  const uint64_t version = stored[0].version;
  ASSERT_OK_AND_ASSIGN(stored, client_->Get("c", {&id, 1}, {.payload = true, .vectors = false}));
  EXPECT_EQ(stored[0].payload.ToJson(), R"({"new":true})");
  EXPECT_EQ(stored[0].version, version);

  EXPECT_THAT(client_->Delete("c", {&id, 1}), IsOkAndHolds(1U));
  ASSERT_OK_AND_ASSIGN(const auto after, client_->Search("c", Row(3500), {}));
  EXPECT_NE(after.hits.front().id, id);
  EXPECT_THAT(client_->SearchNear("c", id, {}).status(), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(EngineTest, ScrollGoesThroughLoadedAndFreshPoints) {
  ASSERT_OK(Ingest(0, 3000, IngestMode::kBulk));
  ASSERT_OK(Ingest(3000, kRows, IngestMode::kUpsert));
  v1::ScrollRequest request;
  request.set_collection("c");
  request.set_limit(999);
  uint64_t next = 0;
  do {
    v1::ScrollResponse response;
    grpc::ClientContext context;
    ASSERT_TRUE(points_->Scroll(&context, request, &response).ok());
    for (const v1::RetrievedPoint& point : response.points()) {
      ASSERT_EQ(point.id().num(), next);
      ++next;
    }
    ASSERT_EQ(response.has_next_offset(), next < kRows);
    *request.mutable_offset() = response.next_offset();
  } while (next < kRows);
}

TEST_F(EngineTest, BadWritesAreAnsweredAndLeaveNothing) {
  const auto invalid = grpc::StatusCode::INVALID_ARGUMENT;
  const std::vector<float> good(kDim, 1);
  std::vector<float> bad = good;
  bad[3] = std::numeric_limits<float>::quiet_NaN();
  ExpectRefused(Request({good, bad}), invalid, "batch",
                AllOf(HasSubstr("point 1"), HasSubstr("component 3"), HasSubstr("finite")));
  bad[3] = 3e38F;
  bad[4] = 3e38F;
  ExpectRefused(Request({good, bad}), invalid, "batch", HasSubstr("squared length"));
  v1::UpsertRequest request = Request({good, good});
  request.mutable_batch()->mutable_ids()->set_num(1, 0);
  ExpectRefused(request, invalid, "batch", HasSubstr("id 0 is twice"));
  request = Request({good});
  request.mutable_batch()->add_payloads(
      absl::StrCat(R"({"a":")", std::string(db::kPayloadBytesMax, 'x'), R"("})"));
  ExpectRefused(request, invalid, "batch", AllOf(HasSubstr("1048584"), HasSubstr("1048576")));
  request = Request({good});
  request.set_collection("nobody");
  ExpectRefused(request, grpc::StatusCode::NOT_FOUND, "", HasSubstr("nobody"));
}

TEST_F(EngineTest, ABulkLoadThatBreaksOffLeavesNothingAndTheNextOneSucceeds) {
  EXPECT_THAT(Ingest(0, kRows, IngestMode::kBulk, absl::DataLossError("torn")).status(),
              StatusIs(absl::StatusCode::kDataLoss));
  // The server may still be at it: the client does not wait for its answer.
  WaitUntil([&] { return Ingest(0, kRows, IngestMode::kBulk).ok(); });
  EXPECT_EQ(client_->Describe("c")->points, kRows);
}

TEST_F(EngineTest, WritesDuringABulkLoadAreUnavailableAndReadsGoOn) {
  ASSERT_OK(Ingest(0, 100, IngestMode::kUpsert));
  grpc::ClientContext context;
  const auto stream = ingest_->Ingest(&context);
  v1::IngestRequest step;
  step.mutable_begin()->set_collection("c");
  step.mutable_begin()->set_mode(v1::INGEST_MODE_BULK);
  stream->Write(step);
  *step.mutable_batch()->mutable_batch() = Request({{Row(200).begin(), Row(200).end()}}).batch();
  stream->Write(step);
  v1::IngestResponse answer;
  ASSERT_TRUE(stream->Read(&answer));

  v1::UpsertResponse response;
  grpc::ClientContext write;
  const grpc::Status status =
      points_->Upsert(&write, Request({std::vector<float>(kDim, 1)}), &response);
  EXPECT_THAT(status, GrpcStatusIs(grpc::StatusCode::UNAVAILABLE, HasSubstr("retry")));
  ASSERT_OK_AND_ASSIGN(const auto found, client_->Search("c", Row(50), {}));
  EXPECT_EQ(*found.hits.front().id.number(), 50U);

  step.mutable_finish()->set_points(1);
  stream->Write(step);
  stream->WritesDone();
  while (stream->Read(&answer)) continue;
  ASSERT_TRUE(stream->Finish().ok());
  EXPECT_TRUE(answer.done());
  EXPECT_EQ(*client_->Search("c", Row(200), {})->hits.front().id.number(), 0U);
}

TEST_F(EngineTest, AnEndedDeadlineEndsASearch) {
  ASSERT_OK(Ingest(0, kRows, IngestMode::kBulk));
  ASSERT_OK_AND_ASSIGN(const auto collection, database_->GetCollection("c"));
  db::SearchParams params;
  params.exact = true;
  params.deadline = base::Deadline::After(absl::ZeroDuration());
  EXPECT_THAT(collection->Search(Row(0), params).status(),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(client_->Search("c", Row(0), params).status(),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(EngineTest, ADroppedCollectionIsNotFound) {
  ASSERT_OK(Ingest(0, 100, IngestMode::kUpsert));
  ASSERT_OK(client_->DropCollection("c"));
  EXPECT_THAT(client_->Search("c", Row(0), {}).status(), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(client_->Describe("c").status(), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace tessera::api
