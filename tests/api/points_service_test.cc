#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"

#include "tests/api/grpc_fixture.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kUuid[] = "01234567-89ab-cdef-0123-456789abcdef";

class PointsService : public GrpcTest {
 protected:
  grpc::Status Upsert(v1::UpsertRequest request) {
    if (request.collection().empty()) request.set_collection("c");
    v1::UpsertResponse response;
    grpc::ClientContext context;
    grpc::Status status = points_->Upsert(&context, request, &response);
    last_version_ = response.version();
    return status;
  }

  // A request of one column of ids 0, 1, ... and their vectors.
  static v1::UpsertRequest Columns(const std::vector<std::vector<float>>& rows) {
    v1::UpsertRequest request;
    v1::VectorColumn* column = request.mutable_batch()->add_vectors();
    for (size_t i = 0; i < rows.size(); ++i) {
      request.mutable_batch()->mutable_ids()->add_num(i);
      *column->mutable_data() += FloatBytes(rows[i]);
    }
    return request;
  }

  static v1::UpsertRequest OnePoint(const std::vector<float>& values) {
    v1::UpsertRequest request;
    v1::Point* point = request.add_points();
    point->mutable_id()->set_num(1);
    point->mutable_vector()->mutable_values()->Add(values.begin(), values.end());
    return request;
  }

  void ExpectRefused(const v1::UpsertRequest& request, const std::string& field,
                     const testing::Matcher<std::string>& message) {
    const grpc::Status status = Upsert(request);
    EXPECT_THAT(status, GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT, message));
    EXPECT_EQ(BlamedField(status), field);
    EXPECT_EQ(collection().Count().value(), 0U) << "half applied";
  }

  uint64_t last_version_ = 0;
};

TEST_F(PointsService, UpsertTakesColumns) {
  v1::UpsertRequest request = Columns({{1, 2, 3, 4}, {5, 6, 7, 8}});
  request.mutable_batch()->add_payloads(R"({"a":1})");
  request.mutable_batch()->add_payloads("");
  ASSERT_TRUE(Upsert(request).ok());
  EXPECT_EQ(last_version_, 1U);
  EXPECT_EQ(collection().last_ack(), db::Ack::kWal);
  const std::vector<base::PointId> ids = {base::PointId(0), base::PointId(1)};
  const auto stored = collection().Get(ids, {.payload = true, .vectors = true}).value();
  ASSERT_EQ(stored.size(), 2U);
  EXPECT_EQ(stored[0].vectors[0].bytes, FloatBytes({1, 2, 3, 4}));
  EXPECT_EQ(stored[1].vectors[0].bytes, FloatBytes({5, 6, 7, 8}));
  EXPECT_EQ(stored[0].payload.ToJson(), R"({"a":1})");
  EXPECT_TRUE(stored[1].payload.is_null());
}

TEST_F(PointsService, UpsertTakesPointsOneByOneWithEveryKindOfId) {
  v1::UpsertRequest request;
  request.set_ack(v1::ACK_MEMORY);
  for (int i = 0; i < 3; ++i) {
    v1::Vector* vector = request.add_points()->mutable_vector();
    for (int j = 0; j < 4; ++j) vector->add_values(static_cast<float>(i));
  }
  request.mutable_points(0)->mutable_id()->set_num(7);
  request.mutable_points(1)->mutable_id()->set_uuid(kUuid);
  request.mutable_points(2)->mutable_id()->set_str("007");
  request.mutable_points(2)->set_payload(R"({"b":[1,2.5]})");
  ASSERT_TRUE(Upsert(request).ok());
  EXPECT_EQ(collection().last_ack(), db::Ack::kMemory);
  const std::vector<base::PointId> ids = {base::PointId(std::string("007")),
                                          base::PointId::Parse(kUuid).value(), base::PointId(7)};
  const auto stored = collection().Get(ids, {.payload = true, .vectors = true}).value();
  ASSERT_EQ(stored.size(), 3U);
  EXPECT_EQ(stored[0].vectors[0].bytes, FloatBytes({2, 2, 2, 2}));
  EXPECT_EQ(stored[0].payload.ToJson(), R"({"b":[1,2.5]})");
}

TEST_F(PointsService, UpsertOfAWrongDimensionNamesBothSizes) {
  ExpectRefused(OnePoint({1, 2, 3}), "points[0]", AllOf(HasSubstr("12 bytes"), HasSubstr("16")));
  ExpectRefused(Columns({{1, 2, 3, 4}, {5, 6, 7}}), "batch.vectors[0].data",
                AllOf(HasSubstr("28 bytes"), HasSubstr("32")));
  ExpectRefused(OnePoint({}), "points[0]", AllOf(HasSubstr("0 bytes"), HasSubstr("16")));
}

TEST_F(PointsService, UpsertOfNanOrInfinityNamesTheComponent) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  ExpectRefused(Columns({{1, 2, 3, 4}, {1, 2, nan, 4}}), "batch",
                AllOf(HasSubstr("component 2"), HasSubstr("finite")));
  ExpectRefused(OnePoint({1, -infinity, 3, 4}), "points", HasSubstr("component 1 = -inf"));
}

TEST_F(PointsService, UpsertOfAnIdTwiceNamesIt) {
  v1::UpsertRequest request = Columns({{1, 2, 3, 4}, {5, 6, 7, 8}});
  request.mutable_batch()->mutable_ids()->set_num(1, 0);
  ExpectRefused(request, "batch", HasSubstr("id 0 is twice"));
}

TEST_F(PointsService, UpsertOfABadIdNamesItsPlace) {
  v1::UpsertRequest request = OnePoint({1, 2, 3, 4});
  request.mutable_points(0)->mutable_id()->set_uuid("no-uuid");
  ExpectRefused(request, "points[0]", HasSubstr("no-uuid"));
  request.mutable_points(0)->mutable_id()->set_str("");
  ExpectRefused(request, "points[0]", HasSubstr("0 bytes, must have 1 .. 512"));
  request.mutable_points(0)->mutable_id()->set_str(std::string(513, 'x'));
  ExpectRefused(request, "points[0]", HasSubstr("513 bytes, must have 1 .. 512"));
  request.mutable_points(0)->clear_id();
  ExpectRefused(request, "points[0]", HasSubstr("num, uuid or str"));
}

TEST_F(PointsService, UpsertOfAnUnknownOrMissingFieldListsThoseThereAre) {
  v1::UpsertRequest request = OnePoint({1, 2, 3, 4});
  (*request.mutable_points(0)->mutable_vectors())["image"].add_values(1);
  ExpectRefused(request, "points[0]", AllOf(HasSubstr("\"image\""), HasSubstr("it has \"\"")));
  request.mutable_points(0)->clear_vectors();
  request.mutable_points(0)->clear_vector();
  ExpectRefused(request, "points[0]", HasSubstr("no vector for field \"\""));
  request = Columns({{1, 2, 3, 4}});
  request.mutable_batch()->mutable_vectors(0)->set_field("image");
  ExpectRefused(request, "batch.vectors[0].field", HasSubstr("it has \"\""));
  request.mutable_batch()->clear_vectors();
  ExpectRefused(request, "batch.vectors", HasSubstr("0 columns, the collection has 1"));
}

TEST_F(PointsService, UpsertOfABadPayloadNamesItsPlace) {
  v1::UpsertRequest request = Columns({{1, 2, 3, 4}});
  request.mutable_batch()->add_payloads("{oops");
  const grpc::Status status = Upsert(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(BlamedField(status), "batch.payloads[0]");
  request.mutable_batch()->set_payloads(0, "[1]");
  ExpectRefused(request, "batch.payloads[0]", HasSubstr("must be a JSON object"));
  request.mutable_batch()->add_payloads("{}");
  ExpectRefused(request, "batch.payloads", HasSubstr("2 payloads, 1 ids"));
  request.mutable_batch()->clear_payloads();
  request.mutable_batch()->add_payloads(
      absl::StrCat(R"({"a":")", std::string(db::kPayloadBytesMax, 'x'), R"("})"));
  ExpectRefused(request, "batch", AllOf(HasSubstr("1048584 bytes"), HasSubstr("1048576")));
}

TEST_F(PointsService, UpsertOfNothingOrOfBothFormsIsRefused) {
  ExpectRefused({}, "points", HasSubstr("no points"));
  v1::UpsertRequest request = Columns({{1, 2, 3, 4}});
  *request.add_points() = OnePoint({1, 2, 3, 4}).points(0);
  ExpectRefused(request, "points", HasSubstr("together with a batch"));
}

TEST_F(PointsService, UpsertOfTooManyPointsNamesTheLimit) {
  v1::UpsertRequest request;
  for (size_t i = 0; i <= db::kBatchPointsMax; ++i) {
    request.mutable_batch()->mutable_ids()->add_num(i);
  }
  ExpectRefused(request, "batch.ids", AllOf(HasSubstr("100001"), HasSubstr("at most 100000")));
}

TEST_F(PointsService, ARequestOverTheLimitIsResourceExhausted) {
  StartServer({.buffer_bytes_max = uint64_t{16} << 20});
  v1::UpsertRequest request = Columns({{1, 2, 3, 4}});
  request.mutable_batch()->mutable_vectors(0)->mutable_data()->resize(size_t{5} << 20);
  EXPECT_THAT(Upsert(request), GrpcStatusIs(grpc::StatusCode::RESOURCE_EXHAUSTED,
                                            AllOf(HasSubstr("52429"), HasSubstr("4194304"))));
}

TEST_F(PointsService, AnUnknownAckIsRefused) {
  v1::UpsertRequest request = Columns({{1, 2, 3, 4}});
  request.set_ack(static_cast<v1::Ack>(7));
  ExpectRefused(request, "ack", HasSubstr("is 7, must be 0 or 1"));
}

TEST_F(PointsService, EveryCallNamesAnUnknownCollection) {
  const auto not_found = GrpcStatusIs(grpc::StatusCode::NOT_FOUND, HasSubstr("nobody"));
  v1::UpsertRequest upsert = OnePoint({1, 2, 3, 4});
  upsert.set_collection("nobody");
  EXPECT_THAT(Upsert(upsert), not_found);
  const auto call = [&](auto method, auto request, auto response) {
    request.set_collection("nobody");
    grpc::ClientContext context;
    EXPECT_THAT(((*points_).*method)(&context, request, &response), not_found);
  };
  using Stub = v1::Points::Stub;
  call(&Stub::Delete, v1::DeleteRequest(), v1::DeleteResponse());
  call(&Stub::Get, v1::GetRequest(), v1::GetResponse());
  call(&Stub::SetPayload, v1::SetPayloadRequest(), v1::SetPayloadResponse());
  call(&Stub::Scroll, v1::ScrollRequest(), v1::ScrollResponse());
  call(&Stub::Count, v1::CountRequest(), v1::CountResponse());
}

TEST_F(PointsService, DeleteSaysHowManyWereThere) {
  Fill(5);
  v1::DeleteRequest request;
  request.set_collection("c");
  for (const uint64_t id : {1, 3, 99}) request.add_ids()->set_num(id);
  v1::DeleteResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(points_->Delete(&context, request, &response).ok());
  EXPECT_EQ(response.deleted(), 2U);
  EXPECT_EQ(collection().Count().value(), 3U);

  request.add_ids()->set_uuid("x");
  grpc::ClientContext other;
  EXPECT_EQ(BlamedField(points_->Delete(&other, request, &response)), "ids[3]");
}

TEST_F(PointsService, GetKeepsTheOrderOfTheRequestAndLeavesOutTheAbsent) {
  Fill(100);
  v1::GetRequest request;
  request.set_collection("c");
  for (uint64_t id = 0; id < 120; ++id) request.add_ids()->set_num(119 - id);
  request.set_with_vectors(true);
  v1::GetResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(points_->Get(&context, request, &response).ok());
  ASSERT_EQ(response.points_size(), 100);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(response.points(i).id().num(), static_cast<uint64_t>(99 - i));
    EXPECT_EQ(response.points(i).version(), 1U);
    EXPECT_EQ(response.points(i).vector().data(),
              FloatBytes({static_cast<float>(99 - i), 0, 0, 0}));
    EXPECT_EQ(response.points(i).vector().type(), v1::ELEMENT_TYPE_F32);
  }
}

TEST_F(PointsService, GetReturnsOnlyWhatIsAskedFor) {
  ASSERT_OK(collection().Upsert({MakePoint(1, {1, 2, 3, 4}, R"({"a":1})")}, db::Ack::kWal));
  v1::GetRequest request;
  request.set_collection("c");
  request.add_ids()->set_num(1);
  v1::GetResponse response;
  grpc::ClientContext bare;
  ASSERT_TRUE(points_->Get(&bare, request, &response).ok());
  EXPECT_FALSE(response.points(0).has_vector());
  EXPECT_EQ(response.points(0).payload(), "");
  request.set_with_payload(true);
  grpc::ClientContext with_payload;
  ASSERT_TRUE(points_->Get(&with_payload, request, &response).ok());
  EXPECT_EQ(response.points(0).payload(), R"({"a":1})");
}

TEST_F(PointsService, SetPayloadMergesOrNamesTheAbsentId) {
  ASSERT_OK(collection().Upsert({MakePoint(1, {1, 2, 3, 4}, R"({"a":1,"b":2})")}, db::Ack::kWal));
  v1::SetPayloadRequest request;
  request.set_collection("c");
  request.add_ids()->set_num(1);
  request.add_ids()->set_num(1);
  request.set_payload(R"({"a":null,"c":"x"})");
  v1::SetPayloadResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(points_->SetPayload(&context, request, &response).ok());
  EXPECT_EQ(response.updated(), 1U);
  const base::PointId id(1);
  const auto stored = collection().Get({&id, 1}, {.payload = true, .vectors = false}).value();
  EXPECT_EQ(stored[0].payload.ToJson(), R"({"b":2,"c":"x"})");

  request.add_ids()->set_num(77);
  grpc::ClientContext absent;
  EXPECT_THAT(points_->SetPayload(&absent, request, &response),
              GrpcStatusIs(grpc::StatusCode::NOT_FOUND, HasSubstr("77")));
  request.set_payload("");
  grpc::ClientContext empty;
  const grpc::Status status = points_->SetPayload(&empty, request, &response);
  EXPECT_THAT(status, GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("JSON object")));
  EXPECT_EQ(BlamedField(status), "payload");
}

TEST_F(PointsService, ScrollPagesThroughAllInOrder) {
  Fill(95);
  v1::ScrollRequest request;
  request.set_collection("c");
  request.set_limit(40);
  std::vector<uint64_t> ids;
  std::vector<int> pages;
  for (;;) {
    v1::ScrollResponse response;
    grpc::ClientContext context;
    ASSERT_TRUE(points_->Scroll(&context, request, &response).ok());
    pages.push_back(response.points_size());
    for (const v1::RetrievedPoint& point : response.points()) ids.push_back(point.id().num());
    if (!response.has_next_offset()) break;
    *request.mutable_offset() = response.next_offset();
  }
  EXPECT_THAT(pages, ElementsAre(40, 40, 15));
  ASSERT_EQ(ids.size(), 95U);
  for (uint64_t i = 0; i < 95; ++i) EXPECT_EQ(ids[i], i);
}

TEST_F(PointsService, ScrollOfAWholePageHasNoNextOffsetAtTheEnd) {
  Fill(10);
  v1::ScrollRequest request;  // limit 0: 10
  request.set_collection("c");
  v1::ScrollResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(points_->Scroll(&context, request, &response).ok());
  EXPECT_EQ(response.points_size(), 10);
  EXPECT_FALSE(response.has_next_offset());
}

TEST_F(PointsService, ScrollRefusesALimitOrOffsetOutOfRange) {
  v1::ScrollRequest request;
  request.set_collection("c");
  request.set_limit(10'001);
  v1::ScrollResponse response;
  grpc::ClientContext context;
  grpc::Status status = points_->Scroll(&context, request, &response);
  EXPECT_THAT(status, GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT,
                                   HasSubstr("10001, must be 1 .. 10000")));
  EXPECT_EQ(BlamedField(status), "limit");
  request.set_limit(1);
  request.mutable_offset();
  grpc::ClientContext other;
  status = points_->Scroll(&other, request, &response);
  EXPECT_EQ(BlamedField(status), "offset");
}

TEST_F(PointsService, CountCounts) {
  Fill(12);
  v1::CountRequest request;
  request.set_collection("c");
  v1::CountResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(points_->Count(&context, request, &response).ok());
  EXPECT_EQ(response.count(), 12U);
}

// Payloads of half a megabyte against replies of 4 MiB.
class LongReplies : public PointsService {
 protected:
  void SetUp() override {
    StartServer({.buffer_bytes_max = uint64_t{16} << 20});
    const std::string payload =
        absl::StrCat(R"({"a":")", std::string(size_t{512} << 10, 'x'), R"("})");
    std::vector<db::Point> points;
    for (uint64_t id = 0; id < 20; ++id) points.push_back(MakePoint(id, {1, 2, 3, 4}, payload));
    ASSERT_OK(collection().Upsert(std::move(points), db::Ack::kWal));
  }
};

TEST_F(LongReplies, AScrollPageEndsWhereTheReplyIsFull) {
  v1::ScrollRequest request;
  request.set_collection("c");
  request.set_limit(20);
  request.set_with_payload(true);
  uint64_t next = 0;
  for (const int count : {7, 7, 6}) {
    v1::ScrollResponse response;
    grpc::ClientContext context;
    ASSERT_TRUE(points_->Scroll(&context, request, &response).ok());
    EXPECT_EQ(response.points_size(), count);
    EXPECT_LE(response.ByteSizeLong(), size_t{4} << 20);
    for (const v1::RetrievedPoint& point : response.points()) EXPECT_EQ(point.id().num(), next++);
    ASSERT_EQ(response.has_next_offset(), next < 20);
    *request.mutable_offset() = response.next_offset();
  }
}

TEST_F(LongReplies, AGetThatIsTooLongNamesTheLimit) {
  v1::GetRequest request;
  request.set_collection("c");
  request.set_with_payload(true);
  for (uint64_t id = 0; id < 8; ++id) request.add_ids()->set_num(id);
  v1::GetResponse response;
  grpc::ClientContext context;
  const grpc::Status status = points_->Get(&context, request, &response);
  EXPECT_THAT(status, GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT,
                                   AllOf(HasSubstr("8 ids"), HasSubstr("4194304"))));
  EXPECT_EQ(BlamedField(status), "ids");
  request.mutable_ids()->RemoveLast();
  grpc::ClientContext shorter;
  EXPECT_TRUE(points_->Get(&shorter, request, &response).ok());
}

}  // namespace
}  // namespace tessera::api
