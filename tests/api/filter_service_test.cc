// Filters over gRPC: each call that takes one, what is refused, and that nothing is half applied.
#include <string>

#include <google/protobuf/text_format.h>

#include "absl/strings/str_cat.h"

#include "tests/api/grpc_fixture.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;

v1::Filter Expression(const std::string& text) {
  v1::Filter filter;
  filter.set_expression(text);
  return filter;
}

v1::Filter Tree(const std::string& text) {
  v1::Filter filter;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, filter.mutable_tree()));
  return filter;
}

// Points 0 .. 9 at (id, 0, 0, 0): "n" is the id, "tags" has even or odd and, of multiples of 3,
// three; 9 has no payload.
class FilterService : public GrpcTest {
 protected:
  void SetUp() override {
    GrpcTest::SetUp();
    std::vector<db::Point> points;
    for (uint64_t id = 0; id < 10; ++id) {
      const std::string payload =
          absl::StrCat("{\"n\":", id, ",\"tags\":[\"", id % 2 == 0 ? "even" : "odd", "\"",
                       id % 3 == 0 ? ",\"three\"" : "", "]}");
      points.push_back(MakePoint(id, {static_cast<float>(id), 0, 0, 0}, id == 9 ? "" : payload));
    }
    ASSERT_TRUE(collection().Upsert(points, db::Ack::kWal).ok());
  }

  template <typename Call, typename Request, typename Response>
  static grpc::Status Send(Call&& call, Request* request, Response* response) {
    request->set_collection("c");
    grpc::ClientContext context;
    response->Clear();
    return call(&context, *request, response);
  }
  grpc::Status Search(v1::SearchRequest request) {
    request.mutable_vector()->mutable_values()->Resize(4, 0);
    return Send([&](auto... all) { return search_->Search(all...); }, &request, &search_response_);
  }
  grpc::Status Count(v1::CountRequest request) {
    return Send([&](auto... all) { return points_->Count(all...); }, &request, &count_);
  }
  grpc::Status CountWhere(const v1::Filter& filter) {
    v1::CountRequest request;
    *request.mutable_filter() = filter;
    return Count(request);
  }
  grpc::Status Delete(v1::DeleteRequest request) {
    return Send([&](auto... all) { return points_->Delete(all...); }, &request, &deleted_);
  }
  grpc::Status SetPayload(v1::SetPayloadRequest request) {
    return Send([&](auto... all) { return points_->SetPayload(all...); }, &request, &updated_);
  }
  grpc::Status Facet(v1::FacetRequest request) {
    return Send([&](auto... all) { return points_->Facet(all...); }, &request, &facet_);
  }

  void ExpectRefused(const v1::Filter& filter, const std::string& field,
                     const testing::Matcher<std::string>& message) {
    const grpc::Status status = CountWhere(filter);
    EXPECT_THAT(status, GrpcStatusIs(kInvalid, message));
    EXPECT_EQ(BlamedField(status), field);
  }

  std::vector<uint64_t> Found() const {
    std::vector<uint64_t> ids;
    for (const v1::ScoredPoint& point : search_response_.result()) ids.push_back(point.id().num());
    return ids;
  }

  v1::SearchResponse search_response_;
  v1::CountResponse count_;
  v1::DeleteResponse deleted_;
  v1::SetPayloadResponse updated_;
  v1::FacetResponse facet_;
};

TEST_F(FilterService, SearchTakesBothForms) {
  v1::SearchRequest request;
  *request.mutable_filter() = Expression("n >= $low AND 'even' IN tags");
  (*request.mutable_filter()->mutable_parameters())["low"].set_integer(3);
  ASSERT_TRUE(Search(request).ok());
  EXPECT_THAT(Found(), ElementsAre(4, 6, 8));
  EXPECT_FALSE(search_response_.has_explain());
  EXPECT_THAT(search_response_.warnings(), IsEmpty());
  *request.mutable_filter() = Tree(R"(must { path: "n" range { gte { integer: 3 } } }
                                      must { path: "tags" eq { text: "even" } })");
  request.mutable_params()->set_plan(v1::SEARCH_PLAN_PROBE);
  request.set_explain(true);
  ASSERT_TRUE(Search(request).ok());
  EXPECT_THAT(Found(), ElementsAre(4, 6, 8));
  EXPECT_EQ(search_response_.explain().matching_rows(), 3U);
  EXPECT_EQ(search_response_.explain().plan(), v1::SEARCH_PLAN_PROBE);
  EXPECT_EQ(search_response_.explain().prices_size(), 2);
  EXPECT_THAT(search_response_.explain().filter(), HasSubstr("n >= 3"));
  EXPECT_EQ(collection().last_params().plan, db::SearchPlan::kProbe);
}

TEST_F(FilterService, NeighboursOfAPointAreFilteredToo) {
  v1::SearchRequest request;
  *request.mutable_filter() = Expression("n < 3");
  request.set_collection("c");
  request.mutable_point()->set_num(1);
  grpc::ClientContext context;
  ASSERT_TRUE(search_->Search(&context, request, &search_response_).ok());
  EXPECT_THAT(Found(), ElementsAre(0, 2));
}

TEST_F(FilterService, ABatchIsFilteredAndExplainedQueryByQuery) {
  v1::SearchBatchRequest request;
  request.set_collection("c");
  request.mutable_queries()->set_data(FloatBytes({0, 0, 0, 0, 9, 0, 0, 0}));
  *request.mutable_filter() = Expression("n IN (2, 7) AND nobody != 1");
  request.set_explain(true);
  v1::SearchBatchResponse response;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(search_->SearchBatch(&context, request, &response).ok());
  }
  ASSERT_EQ(response.results_size(), 2);
  EXPECT_EQ(response.results(0).result(0).id().num(), 2U);
  EXPECT_EQ(response.results(1).result(0).id().num(), 7U);
  for (const v1::SearchResponse& result : response.results()) {
    EXPECT_EQ(result.result_size(), 2);
    EXPECT_EQ(result.explain().matching_rows(), 2U);
    EXPECT_THAT(result.warnings(), ElementsAre(HasSubstr("nobody")));
  }
  *request.mutable_filter() = Expression("n IN (2,");
  grpc::ClientContext context;
  const grpc::Status status = search_->SearchBatch(&context, request, &response);
  EXPECT_THAT(status, GrpcStatusIs(kInvalid, HasSubstr("position 9")));
  EXPECT_EQ(BlamedField(status), "filter");
}

TEST_F(FilterService, ErrorsNameTheFieldOrThePosition) {
  v1::SearchRequest request;
  *request.mutable_filter() = Expression("n = red");
  grpc::Status status = Search(request);
  EXPECT_THAT(status, GrpcStatusIs(kInvalid, AllOf(HasSubstr("position 5"), HasSubstr("red"))));
  EXPECT_EQ(BlamedField(status), "filter");
  *request.mutable_filter() =
      Tree(R"(must { path: "n" exists: true } must { path: "n" range {} })");
  status = Search(request);
  EXPECT_THAT(status, GrpcStatusIs(kInvalid, HasSubstr("filter.tree.must[1].range: has no bound")));
  EXPECT_EQ(BlamedField(status), "filter.tree.must[1].range");
  request.clear_filter();
  request.mutable_params()->set_plan(static_cast<v1::SearchPlan>(9));
  EXPECT_EQ(BlamedField(Search(request)), "params.plan");
  request.mutable_params()->set_plan(v1::SEARCH_PLAN_PROBE);
  request.mutable_params()->set_exact(true);
  EXPECT_EQ(BlamedField(Search(request)), "params.plan");
}

TEST_F(FilterService, EmptyFiltersSaySo) {
  ExpectRefused(v1::Filter(), "filter", HasSubstr("neither a tree nor an expression"));
  ExpectRefused(Expression(""), "filter.expression", HasSubstr("is empty"));
  ExpectRefused(Tree(""), "filter.tree", HasSubstr("has no condition"));
}

TEST_F(FilterService, CountIsThatOfTheMatches) {
  ASSERT_TRUE(Count({}).ok());
  EXPECT_EQ(count_.count(), 10U);
  ASSERT_TRUE(CountWhere(Expression("n != 3")).ok());
  EXPECT_EQ(count_.count(), 9U);
  ASSERT_TRUE(CountWhere(Expression("n IN ()")).ok());
  EXPECT_EQ(count_.count(), 0U);
  v1::CountRequest request;
  *request.mutable_filter() = Expression("'three' IN tags");
  request.set_explain(true);
  ASSERT_TRUE(Count(request).ok());
  EXPECT_EQ(count_.count(), 3U);
  EXPECT_EQ(count_.explain().matching_rows(), 3U);
}

TEST_F(FilterService, UnknownPathsWarnOrFail) {
  v1::Filter filter = Expression("color = 'red'");
  ASSERT_TRUE(CountWhere(filter).ok());
  EXPECT_EQ(count_.count(), 0U);
  EXPECT_THAT(count_.warnings(), ElementsAre(HasSubstr("color")));
  filter.set_strict(true);
  ExpectRefused(filter, "filter", HasSubstr("color"));
}

TEST_F(FilterService, ScrollPagesThroughTheMatches) {
  v1::ScrollRequest request;
  request.set_collection("c");
  request.set_limit(2);
  *request.mutable_filter() = Expression("'odd' IN tags AND other = 1 OR 'odd' IN tags");
  std::vector<uint64_t> ids;
  for (;;) {
    v1::ScrollResponse response;
    grpc::ClientContext context;
    ASSERT_TRUE(points_->Scroll(&context, request, &response).ok());
    for (const v1::RetrievedPoint& point : response.points()) ids.push_back(point.id().num());
    EXPECT_THAT(response.warnings(), ElementsAre(HasSubstr("other")));
    if (!response.has_next_offset()) break;
    *request.mutable_offset() = response.next_offset();
  }
  EXPECT_THAT(ids, ElementsAre(1, 3, 5, 7));
}

TEST_F(FilterService, DeleteTakesIdsOrAFilter) {
  v1::DeleteRequest request;
  request.add_ids()->set_num(1);
  *request.mutable_filter() = Expression("n < 5");
  grpc::Status status = Delete(request);
  EXPECT_THAT(status, GrpcStatusIs(kInvalid, HasSubstr("beside ids")));
  EXPECT_EQ(BlamedField(status), "filter");
  request.clear_ids();
  for (const char* wrong : {"", "n <", "n < $x"}) {
    *request.mutable_filter() = Expression(wrong);
    EXPECT_THAT(Delete(request), GrpcStatusIs(kInvalid, testing::_));
  }
  *request.mutable_filter() = v1::Filter();
  EXPECT_THAT(Delete(request), GrpcStatusIs(kInvalid, testing::_));
  EXPECT_EQ(*collection().Count(), 10U) << "half applied";
  *request.mutable_filter() = Expression("n < 5");
  request.set_ack(v1::ACK_MEMORY);
  ASSERT_TRUE(Delete(request).ok());
  EXPECT_EQ(deleted_.deleted(), 5U);
  EXPECT_EQ(*collection().Count(), 5U);
  EXPECT_EQ(collection().last_ack(), db::Ack::kMemory);
  ASSERT_TRUE(Delete(request).ok());
  EXPECT_EQ(deleted_.deleted(), 0U) << "what went, not what was asked for";
}

TEST_F(FilterService, SetPayloadTakesIdsOrAFilter) {
  v1::SetPayloadRequest request;
  request.set_payload(R"({"seen":true})");
  *request.mutable_filter() = Tree(R"(must_not { path: "tags" eq { text: "even" } })");
  request.add_ids()->set_num(1);
  EXPECT_EQ(BlamedField(SetPayload(request)), "filter");
  request.clear_ids();
  request.set_payload("[1]");
  EXPECT_EQ(BlamedField(SetPayload(request)), "payload");
  request.set_payload(R"({"seen":true})");
  ASSERT_TRUE(CountWhere(Expression("EXISTS(seen)")).ok());
  EXPECT_EQ(count_.count(), 0U) << "half applied";
  ASSERT_TRUE(SetPayload(request).ok());
  EXPECT_EQ(updated_.updated(), 5U);
  ASSERT_TRUE(CountWhere(Expression("seen = true")).ok());
  EXPECT_EQ(count_.count(), 5U) << "9 as well, which lacks the key";
}

TEST_F(FilterService, FacetCountsTheValuesOfAPath) {
  v1::FacetRequest request;
  request.set_path("tags");
  *request.mutable_filter() = Expression("n < 8");
  ASSERT_TRUE(Facet(request).ok());
  EXPECT_EQ(facet_.points(), 8U);
  EXPECT_EQ(facet_.distinct(), 3U);
  ASSERT_EQ(facet_.values_size(), 3);
  EXPECT_EQ(facet_.values(0).value().text(), "even");
  EXPECT_EQ(facet_.values(0).count(), 4U);
  EXPECT_EQ(facet_.values(2).value().text(), "three");
  request.set_limit(1);
  ASSERT_TRUE(Facet(request).ok());
  EXPECT_EQ(facet_.values_size(), 1);
  EXPECT_EQ(facet_.distinct(), 3U);
  request.set_path("in");  // a keyword of expressions, a name here
  ASSERT_TRUE(Facet(request).ok());
  EXPECT_THAT(facet_.warnings(), ElementsAre(HasSubstr("in")));
  request.set_path("");
  EXPECT_EQ(BlamedField(Facet(request)), "path");
  request.set_path("a.");
  EXPECT_EQ(BlamedField(Facet(request)), "path");
  request.set_path("tags");
  request.set_limit(base::kLimitMax + 1);
  EXPECT_EQ(BlamedField(Facet(request)), "limit");
  request.set_limit(0);
  *request.mutable_filter() = Expression("n <");
  EXPECT_EQ(BlamedField(Facet(request)), "filter");
}

TEST_F(FilterService, ExpressionsOfFourMebibytesAreTakenAndLongerOnesRefused) {
  const std::string few = "n < 3";
  ASSERT_TRUE(CountWhere(Expression(few + std::string((4 << 20) - few.size(), ' '))).ok());
  EXPECT_EQ(count_.count(), 3U);
  ExpectRefused(Expression(few + std::string((4 << 20) - few.size() + 1, ' ')), "filter.expression",
                HasSubstr("at most 4194304"));
}

TEST_F(FilterService, HundredThousandConstantsAreTakenAndMoreRefused) {
  v1::Filter expression = Expression("n IN $list");
  v1::Filter tree = Tree(R"(must { path: "n" in {} })");
  v1::ValueList* parameter = (*expression.mutable_parameters())["list"].mutable_list();
  v1::ValueList* in = tree.mutable_tree()->mutable_must(0)->mutable_in();
  for (int i = 0; i < 100'000; ++i) {
    parameter->add_values()->set_integer(i + 7);
    in->add_values()->set_integer(i + 7);
  }
  for (v1::Filter* filter : {&expression, &tree}) {
    ASSERT_TRUE(CountWhere(*filter).ok());
    EXPECT_EQ(count_.count(), 2U);
  }
  parameter->add_values()->set_integer(1);
  in->add_values()->set_integer(1);
  ExpectRefused(expression, "filter.parameters[list]", HasSubstr("at most 100000"));
  ExpectRefused(tree, "filter.tree.must[0].in", HasSubstr("at most 100000"));
}

TEST_F(FilterService, ThirtyTwoLevelsAreTakenAndMoreRefused) {
  const auto nested = [](int levels) {
    v1::Filter filter;
    v1::FilterTree* tree = filter.mutable_tree();
    for (int i = 1; i < levels; ++i) tree = tree->add_must()->mutable_filter();
    v1::Condition* condition = tree->add_must();
    condition->set_path("n");
    condition->mutable_eq()->set_integer(3);
    return filter;
  };
  ASSERT_TRUE(CountWhere(nested(32)).ok());
  EXPECT_EQ(count_.count(), 1U);
  const grpc::Status status = CountWhere(nested(33));
  EXPECT_THAT(status, GrpcStatusIs(kInvalid, HasSubstr("deeper than 32 levels")));
  EXPECT_THAT(BlamedField(status), testing::StartsWith("filter.tree.must[0].filter.must[0]"));
  // The stack of the server is not at their mercy.
  EXPECT_THAT(CountWhere(nested(50)), GrpcStatusIs(kInvalid, HasSubstr("nested in each other")));
  EXPECT_THAT(CountWhere(nested(2000)), GrpcStatusIs(kInvalid, HasSubstr("nested in each other")));
}

}  // namespace
}  // namespace tessera::api
