#include <cmath>
#include <limits>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "tests/api/grpc_fixture.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

v1::SearchRequest Query(const std::vector<float>& values) {
  v1::SearchRequest request;
  request.set_collection("c");
  request.mutable_vector()->mutable_values()->Add(values.begin(), values.end());
  return request;
}

v1::SearchBatchRequest Queries(const std::vector<std::vector<float>>& rows) {
  v1::SearchBatchRequest request;
  request.set_collection("c");
  for (const std::vector<float>& row : rows) {
    *request.mutable_queries()->mutable_data() += FloatBytes(row);
  }
  return request;
}

std::vector<uint64_t> Ids(const v1::SearchResponse& response) {
  std::vector<uint64_t> ids;
  for (const v1::ScoredPoint& point : response.result()) ids.push_back(point.id().num());
  return ids;
}

class SearchService : public GrpcTest {
 protected:
  grpc::Status Search(const v1::SearchRequest& request) {
    grpc::ClientContext context;
    response_.Clear();
    return search_->Search(&context, request, &response_);
  }
  grpc::Status SearchBatch(const v1::SearchBatchRequest& request) {
    grpc::ClientContext context;
    batch_.Clear();
    return search_->SearchBatch(&context, request, &batch_);
  }

  void ExpectRefused(const v1::SearchRequest& request, const std::string& field,
                     const testing::Matcher<std::string>& message) {
    const grpc::Status status = Search(request);
    EXPECT_THAT(status, GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT, message));
    EXPECT_EQ(BlamedField(status), field);
  }
  void ExpectRefused(const v1::SearchBatchRequest& request, const std::string& field,
                     const testing::Matcher<std::string>& message) {
    const grpc::Status status = SearchBatch(request);
    EXPECT_THAT(status, GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT, message));
    EXPECT_EQ(BlamedField(status), field);
  }

  v1::SearchResponse response_;
  v1::SearchBatchResponse batch_;
};

TEST_F(SearchService, AnswersBestFirstWithScoreDistanceAndUsage) {
  Fill(20);
  v1::SearchRequest request = Query({7.2F, 0, 0, 0});
  request.set_limit(3);
  ASSERT_TRUE(Search(request).ok());
  EXPECT_THAT(Ids(response_), ElementsAre(7, 8, 6));
  EXPECT_NEAR(response_.result(0).distance(), 0.04F, 1e-4);
  EXPECT_EQ(response_.result(0).score(), -response_.result(0).distance());
  EXPECT_EQ(response_.result(0).version(), 1U);
  EXPECT_EQ(response_.usage().estimated_recall(), 1);
  EXPECT_EQ(response_.usage().reranked(), 20U);
}

TEST_F(SearchService, VectorsAsBytesAndAsNumbersMeanTheSame) {
  Fill(20);
  ASSERT_TRUE(Search(Query({3, 0, 0, 0})).ok());
  const std::vector<uint64_t> ids = Ids(response_);
  EXPECT_EQ(ids.size(), 10U);  // limit 0
  v1::SearchRequest request;
  request.set_collection("c");
  request.mutable_vector()->set_data(FloatBytes({3, 0, 0, 0}));
  ASSERT_TRUE(Search(request).ok());
  EXPECT_EQ(Ids(response_), ids);
}

TEST_F(SearchService, ParametersReachTheDatabase) {
  Fill(3);
  v1::SearchRequest request = Query({1, 0, 0, 0});
  request.set_limit(2);
  request.mutable_params()->set_exact(true);
  ASSERT_TRUE(Search(request).ok());
  EXPECT_TRUE(collection().last_params().exact);
  request.mutable_params()->clear_exact();
  request.mutable_params()->set_recall_target(0.5);
  ASSERT_TRUE(Search(request).ok());
  EXPECT_EQ(collection().last_params().recall_target, 0.5);
  request.mutable_params()->clear_recall_target();
  request.mutable_params()->set_nprobe(17);
  request.mutable_params()->set_oversampling(2.5);
  request.set_score_threshold(-4.5F);
  ASSERT_TRUE(Search(request).ok());
  const db::SearchParams params = collection().last_params();
  EXPECT_EQ(params.limit, 2U);
  EXPECT_EQ(params.nprobe, 17U);
  EXPECT_EQ(params.oversampling, 2.5);
  EXPECT_EQ(params.score_threshold, -4.5F);
  EXPECT_TRUE(params.deadline.never());
}

TEST_F(SearchService, OfTheWaysToSearchOneIsAllowed) {
  Fill(3);
  for (const int left_out : {0, 1, 2}) {
    v1::SearchRequest request = Query({1, 0, 0, 0});
    if (left_out != 0) request.mutable_params()->set_exact(true);
    if (left_out != 1) request.mutable_params()->set_recall_target(0.5);
    if (left_out != 2) request.mutable_params()->set_nprobe(17);
    ExpectRefused(request, "params", HasSubstr("more than one of exact, nprobe"));
  }
}

TEST_F(SearchService, HitsCarryPayloadAndVectorsWhenAsked) {
  ASSERT_OK(collection().Upsert({MakePoint(1, {1, 2, 3, 4}, R"({"a":1})")}, db::Ack::kWal));
  v1::SearchRequest request = Query({1, 2, 3, 4});
  ASSERT_TRUE(Search(request).ok());
  EXPECT_FALSE(response_.result(0).has_vector());
  EXPECT_EQ(response_.result(0).payload(), "");
  request.set_with_payload(true);
  request.set_with_vectors(true);
  ASSERT_TRUE(Search(request).ok());
  EXPECT_EQ(response_.result(0).vector().data(), FloatBytes({1, 2, 3, 4}));
  EXPECT_EQ(response_.result(0).payload(), R"({"a":1})");
}

TEST_F(SearchService, NeighboursOfAPointLeaveItOut) {
  Fill(20);
  v1::SearchRequest request;
  request.set_collection("c");
  request.mutable_point()->set_num(5);
  request.set_limit(4);
  ASSERT_TRUE(Search(request).ok());
  EXPECT_THAT(Ids(response_), ElementsAre(4, 6, 3, 7));
  request.mutable_point()->set_num(500);
  EXPECT_THAT(Search(request), GrpcStatusIs(grpc::StatusCode::NOT_FOUND, HasSubstr("500")));
  request.mutable_point()->set_uuid("x");
  ExpectRefused(request, "point", HasSubstr("UUID"));
}

TEST_F(SearchService, BadQueriesNameTheComponentOrTheDimension) {
  Fill(3);
  ExpectRefused(Query({1, 2, 3}), "vector", AllOf(HasSubstr("dimension 3"), HasSubstr("has 4")));
  ExpectRefused(Query({}), "vector", HasSubstr("dimension 0"));
  ExpectRefused(Query({1, kNan, 3, 4}), "vector", HasSubstr("component 1 = nan"));
  v1::SearchRequest request = Query({1, 2, 3, 4});
  request.mutable_vector()->set_data(FloatBytes({1, 2, 3, 4}));
  ExpectRefused(request, "vector", HasSubstr("both values and data"));
  request.mutable_vector()->clear_values();
  request.mutable_vector()->set_data("123");
  ExpectRefused(request, "vector.data", HasSubstr("3 bytes"));
  request.clear_query();
  ExpectRefused(request, "query", HasSubstr("neither a vector nor a point"));
}

TEST_F(SearchService, ParametersOutOfRangeNameTheRange) {
  Fill(3);
  v1::SearchRequest request = Query({1, 0, 0, 0});
  request.set_limit(10'001);
  ExpectRefused(request, "limit", HasSubstr("10001, must be 1 .. 10000"));
  request = Query({1, 0, 0, 0});
  request.mutable_params()->set_recall_target(1.5);
  ExpectRefused(request, "params.recall_target", AllOf(HasSubstr("1.5"), HasSubstr("under 1")));
  request = Query({1, 0, 0, 0});
  request.mutable_params()->set_oversampling(0.5);
  ExpectRefused(request, "params.oversampling", HasSubstr("0.5, must be at least 1"));
  request = Query({1, 0, 0, 0});
  request.set_score_threshold(kNan);
  ExpectRefused(request, "score_threshold", HasSubstr("NaN"));
  request.set_score_threshold(4);
  ExpectRefused(request, "score_threshold",
                AllOf(HasSubstr("is 4"), HasSubstr("minus the squared distance")));
  request = Query({1, 0, 0, 0});
  request.set_field("image");
  ExpectRefused(request, "field", AllOf(HasSubstr("\"image\""), HasSubstr("it has \"\"")));
  request.set_collection("nobody");
  EXPECT_THAT(Search(request), GrpcStatusIs(grpc::StatusCode::NOT_FOUND, HasSubstr("nobody")));
}

TEST_F(SearchService, BatchAnswersInTheOrderOfTheQueries) {
  Fill(200);
  std::vector<std::vector<float>> rows;
  for (int i = 0; i < 200; ++i) rows.push_back({static_cast<float>(199 - i), 0, 0, 0});
  v1::SearchBatchRequest request = Queries(rows);
  request.set_limit(1);
  ASSERT_TRUE(SearchBatch(request).ok());
  ASSERT_EQ(batch_.results_size(), 200);
  for (int i = 0; i < 200; ++i) {
    EXPECT_THAT(Ids(batch_.results(i)), ElementsAre(static_cast<uint64_t>(199 - i)));
  }
}

TEST_F(SearchService, BatchUsesSeveralThreadsButNoMoreThanAllowed) {
  Fill(5);
  collection().search_gate_closed = true;
  std::thread caller([&] {
    EXPECT_TRUE(SearchBatch(Queries(std::vector<std::vector<float>>(64, {1, 0, 0, 0}))).ok());
  });
  WaitUntil([&] { return collection().searches_waiting == 3; });
  collection().search_gate_closed = false;
  caller.join();
  EXPECT_EQ(collection().searches_waiting, 64);
  EXPECT_EQ(batch_.results_size(), 64);
}

TEST_F(SearchService, BadBatchesNameTheQueryOrTheLimit) {
  Fill(3);
  v1::SearchBatchRequest request = Queries({{1, 2, 3, 4}, {1, 2, 3, kNan}});
  ExpectRefused(request, "queries.data", HasSubstr("query 1 has component 3 = nan"));
  request.mutable_queries()->set_data("12345");
  ExpectRefused(request, "queries.data", AllOf(HasSubstr("5 bytes"), HasSubstr("16")));
  request.mutable_queries()->clear_data();
  ExpectRefused(request, "queries.data", HasSubstr("0 bytes"));
  request.mutable_queries()->mutable_data()->resize(size_t{10'001} * 16);
  ExpectRefused(request, "queries", AllOf(HasSubstr("10001"), HasSubstr("at most 10000")));
  request.mutable_queries()->mutable_data()->resize(size_t{10'000} * 16);
  request.set_limit(101);
  ExpectRefused(request, "limit", HasSubstr("at most 1000000 hits"));
  request = Queries({{1, 2, 3, 4}});
  request.mutable_queries()->set_type(static_cast<v1::ElementType>(9));
  ExpectRefused(request, "queries.type", HasSubstr("9, must be 0 .. 4"));
  request.mutable_queries()->set_field("image");
  ExpectRefused(request, "queries.field", HasSubstr("\"image\""));
  request.set_collection("nobody");
  EXPECT_THAT(SearchBatch(request), GrpcStatusIs(grpc::StatusCode::NOT_FOUND, HasSubstr("nobody")));
}

TEST_F(SearchService, RepliesOverTheLimitAreRefusedBeforeOrAfterTheWork) {
  StartServer({.buffer_bytes_max = uint64_t{16} << 20});  // replies of 4 MiB
  ASSERT_OK(database_.CreateCollection(FloatSchema("wide", 16'384)));
  v1::SearchRequest request;
  request.set_collection("wide");
  request.mutable_vector()->set_data(std::string(65'536, '\0'));
  request.set_limit(65);
  request.set_with_vectors(true);
  ExpectRefused(request, "limit", AllOf(HasSubstr("limit 65"), HasSubstr("4194304")));
  request.set_limit(64);
  EXPECT_TRUE(Search(request).ok());

  const std::string payload =
      absl::StrCat(R"({"a":")", std::string(size_t{900} << 10, 'x'), R"("})");
  for (uint64_t id = 0; id < 5; ++id) {
    ASSERT_OK(collection().Upsert({MakePoint(id, {1, 2, 3, 4}, payload)}, db::Ack::kWal));
  }
  request = Query({1, 2, 3, 4});
  request.set_with_payload(true);
  ExpectRefused(request, "limit", HasSubstr("over 4194304 bytes"));
  request.set_limit(4);
  EXPECT_TRUE(Search(request).ok());
  v1::SearchBatchRequest batch = Queries({{1, 2, 3, 4}, {1, 2, 3, 4}});
  batch.set_with_payload(true);
  batch.set_limit(2);
  EXPECT_TRUE(SearchBatch(batch).ok());
  batch.set_limit(3);
  ExpectRefused(batch, "limit", HasSubstr("over 4194304 bytes"));
}

TEST_F(SearchService, TheDeadlineReachesTheDatabase) {
  Fill(3);
  const absl::Time deadline = absl::Now() + absl::Minutes(10);
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(deadline));
  ASSERT_TRUE(search_->Search(&context, Query({1, 0, 0, 0}), &response_).ok());
  // The wire carries what is left, in steps that grow with it.
  EXPECT_GT(collection().last_params().deadline.Left(), absl::Minutes(8));
  EXPECT_LT(collection().last_params().deadline.Left(), absl::Minutes(11));
}

TEST_F(SearchService, ASearchBeyondItsDeadlineEndsOnBothSides) {
  Fill(3);
  collection().search_gate_closed = true;
  const auto deadline = [] { return absl::ToChronoTime(absl::Now() + absl::Milliseconds(50)); };
  grpc::ClientContext single;
  single.set_deadline(deadline());
  EXPECT_EQ(search_->Search(&single, Query({1, 0, 0, 0}), &response_).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  grpc::ClientContext batch;
  batch.set_deadline(deadline());
  EXPECT_EQ(search_->SearchBatch(&batch, Queries({{1, 0, 0, 0}}), &batch_).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  // A call whose deadline passes on the way to the server never gets there.
  const int arrived = collection().searches_waiting;
  WaitUntil(
      [&] { return collection().searches_late + collection().searches_cancelled >= arrived; });
}

TEST_F(SearchService, ACancelledSearchEndsInTheDatabase) {
  Fill(3);
  collection().search_gate_closed = true;
  grpc::ClientContext context;
  std::thread caller([&] {
    EXPECT_EQ(search_->Search(&context, Query({1, 0, 0, 0}), &response_).error_code(),
              grpc::StatusCode::CANCELLED);
  });
  WaitUntil([&] { return collection().searches_waiting == 1; });
  context.TryCancel();
  caller.join();
  WaitUntil([&] { return collection().searches_cancelled == 1; });
}

TEST_F(SearchService, ACancelledBatchEndsOnEveryThread) {
  Fill(3);
  collection().search_gate_closed = true;
  grpc::ClientContext context;
  std::thread caller([&] {
    const v1::SearchBatchRequest request =
        Queries(std::vector<std::vector<float>>(100, {1, 0, 0, 0}));
    EXPECT_EQ(search_->SearchBatch(&context, request, &batch_).error_code(),
              grpc::StatusCode::CANCELLED);
  });
  WaitUntil([&] { return collection().searches_waiting == 3; });
  context.TryCancel();
  caller.join();
  WaitUntil([&] { return collection().searches_cancelled == 3; });
  EXPECT_EQ(collection().searches_waiting, 3) << "the rest of the batch is dropped";
}

}  // namespace
}  // namespace tessera::api
