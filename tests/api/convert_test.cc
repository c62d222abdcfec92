// What the services' tests do not reach: element types, several fields, ids as columns.
#include "api/convert.h"

#include <random>

#include "absl/strings/str_cat.h"

#include "tests/api/grpc_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using testing::HasSubstr;

base::CollectionSchema TwoFields() {
  return {.name = "two",
          .vectors = {
              {.name = "", .dim = 2, .metric = base::Metric::kL2, .type = base::ElementType::kF32},
              {.name = "small",
               .dim = 3,
               .metric = base::Metric::kL2,
               .type = base::ElementType::kI8}}};
}

absl::StatusOr<std::vector<db::Point>> FromBatch(const v1::PointBatch& batch) {
  return PointsFromProto(TwoFields(), {}, batch);
}

v1::PointBatch GoodBatch() {
  v1::PointBatch batch;
  batch.mutable_ids()->add_num(1);
  batch.mutable_ids()->add_num(2);
  v1::VectorColumn* small = batch.add_vectors();  // columns come in any order
  small->set_field("small");
  small->set_data("\x01\x02\x03\xff\xfe\xfd");
  batch.add_vectors()->set_data(FloatBytes({1, 2, 3, 4}));
  return batch;
}

TEST(Convert, ColumnsComeInAnyOrder) {
  ASSERT_OK_AND_ASSIGN(const std::vector<db::Point> points, FromBatch(GoodBatch()));
  ASSERT_EQ(points.size(), 2U);
  for (const db::FieldVector& vector : points[1].vectors) {
    EXPECT_EQ(vector.bytes, vector.field.empty() ? FloatBytes({3, 4}) : "\xff\xfe\xfd");
  }
}

TEST(Convert, OtherElementTypesAreTakenWhenTheyFitExactly) {
  v1::PointBatch batch = GoodBatch();
  batch.mutable_vectors(0)->set_type(v1::ELEMENT_TYPE_F32);
  batch.mutable_vectors(0)->set_data(FloatBytes({1, 2, 3, -128, 127, 0}));
  ASSERT_OK_AND_ASSIGN(const std::vector<db::Point> points, FromBatch(batch));
  EXPECT_EQ(points[1].vectors[0].bytes, std::string("\x80\x7f\x00", 3));
  batch.mutable_vectors(0)->set_data(FloatBytes({1, 2, 3, 4, 5.5F, 6}));
  EXPECT_THAT(FromBatch(batch).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       testing::AllOf(HasSubstr("row 1"), HasSubstr("5.5"))));
  batch.mutable_vectors(0)->set_data(FloatBytes({1, 2, 3, 4, 128, 6}));
  EXPECT_THAT(FromBatch(batch).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("128")));
}

TEST(Convert, ColumnsThatDoNotFitTogetherAreRefused) {
  const auto refused = StatusIs(absl::StatusCode::kInvalidArgument);
  v1::PointBatch batch = GoodBatch();
  batch.mutable_vectors(1)->set_field("small");
  EXPECT_THAT(FromBatch(batch),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a field has two columns")));
  batch = GoodBatch();
  batch.mutable_vectors()->RemoveLast();
  EXPECT_THAT(FromBatch(batch), refused);
  batch = GoodBatch();
  batch.mutable_ids()->add_num(3);
  EXPECT_THAT(FromBatch(batch), refused);
  batch = GoodBatch();
  batch.mutable_ids()->add_any()->set_num(3);
  EXPECT_THAT(FromBatch(batch), StatusIs(absl::StatusCode::kInvalidArgument,
                                         HasSubstr("only one of num, uuids and any")));
  batch = GoodBatch();
  batch.mutable_ids()->clear_num();
  batch.mutable_ids()->set_uuids(std::string(33, 'x'));
  EXPECT_THAT(FromBatch(batch),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("33 bytes")));
  batch.mutable_ids()->set_uuids(std::string(32, 'x'));
  EXPECT_OK(FromBatch(batch));
  batch = GoodBatch();
  batch.mutable_vectors(0)->set_type(static_cast<v1::ElementType>(100));
  EXPECT_THAT(FromBatch(batch), refused);
}

TEST(Convert, ADefaultFieldMayBeNamedByTheEmptyName) {
  google::protobuf::RepeatedPtrField<v1::Point> points;
  v1::Point* point = points.Add();
  point->mutable_id()->set_num(1);
  (*point->mutable_vectors())[""].set_data(FloatBytes({1, 2}));
  (*point->mutable_vectors())["small"].set_data("abc");
  ASSERT_OK_AND_ASSIGN(const std::vector<db::Point> out, PointsFromProto(TwoFields(), points, {}));
  EXPECT_EQ(out[0].vectors.size(), 2U);
  point->mutable_vector()->set_data(FloatBytes({1, 2}));
  EXPECT_THAT(
      PointsFromProto(TwoFields(), points, {}).status(),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("two vectors for the default")));
}

TEST(Convert, EveryIdComesBackAsItsOwnKind) {
  const base::PointId ids[] = {
      base::PointId(0), base::PointId(UINT64_MAX), base::PointId(std::string("a17")),
      base::PointId(std::string("017")),
      base::PointId::Parse("01234567-89ab-cdef-0123-456789abcdef").value()};
  for (const base::PointId& id : ids) {
    v1::PointId message;
    ToProto(id, &message);
    EXPECT_THAT(FromProto(message), IsOkAndHolds(id));
  }
}

TEST(Convert, AStringThatReadsAsANumberOrUuidIsRefused) {
  for (const char* text : {"17", "0", "18446744073709551615"}) {
    v1::PointId message;
    message.set_str(text);
    EXPECT_THAT(FromProto(message).status(),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr(text), HasSubstr("reads as a number; send it as num"))));
  }
  v1::PointId message;
  message.set_str("01234567-89AB-cdef-0123-456789abcdef");
  EXPECT_THAT(FromProto(message).status(), StatusIs(absl::StatusCode::kInvalidArgument,
                                                    HasSubstr("reads as a UUID; send it as uuid")));
}

TEST(Convert, ToBatchCutsAtTheBoundAndLosesNothing) {
  std::mt19937_64 rng(TestSeed());
  const base::CollectionSchema schema = TwoFields();
  std::vector<db::Point> points;
  for (uint64_t i = 0; i < 500; ++i) {
    db::Point point{.id = base::PointId(i), .vectors = {}, .payload = {}};
    if (rng() % 4 == 0) point.id = base::PointId(absl::StrCat("s", i));
    const auto value = static_cast<float>(rng() % 1000);
    point.vectors.push_back({"", FloatBytes({value, -value})});
    point.vectors.push_back({"small", std::string(3, static_cast<char>(rng()))});
    if (rng() % 2 == 0) {
      point.payload =
          base::ParseJson(absl::StrCat(R"({"a":")", std::string(rng() % 300, 'x'), R"("})"))
              .value();
    }
    points.push_back(std::move(point));
  }
  for (const size_t bytes_max : {size_t{1}, size_t{500}, size_t{1} << 30}) {
    size_t at = 0;
    int messages = 0;
    while (at < points.size()) {
      v1::PointBatch batch;
      const size_t taken = ToBatch(schema, std::span(points).subspan(at), bytes_max, &batch);
      ASSERT_GE(taken, 1U);
      size_t bytes = batch.vectors(0).data().size() + batch.vectors(1).data().size();
      for (const std::string& payload : batch.payloads()) bytes += payload.size();
      if (taken > 1) {
        EXPECT_LE(bytes, bytes_max);
      }
      ASSERT_OK_AND_ASSIGN(const std::vector<db::Point> back, PointsFromProto(schema, {}, batch));
      ASSERT_EQ(back.size(), taken);
      for (const db::Point& point : back) {
        EXPECT_EQ(point.id, points[at].id);
        const base::Value& payload = points[at].payload;
        EXPECT_EQ(point.payload_json, payload.is_null() ? "" : payload.ToJson());
        for (size_t field = 0; field < 2; ++field) {
          EXPECT_EQ(point.vectors[field].bytes, points[at].vectors[field].bytes);
        }
        ++at;
      }
      ++messages;
    }
    if (bytes_max == 1) {
      EXPECT_EQ(messages, 500);
    } else if (bytes_max > 500) {
      EXPECT_EQ(messages, 1);
    }
  }
}

TEST(Convert, QueriesOfEveryElementTypeBecomeFloats) {
  const base::VectorFieldSchema small = TwoFields().vectors[1];
  v1::Vector vector;
  vector.set_data("\x01\x02\xff");
  EXPECT_THAT(QueryFromProto(small, vector), IsOkAndHolds(testing::ElementsAre(1, 2, -1)));
  vector.set_type(v1::ELEMENT_TYPE_U8);
  EXPECT_THAT(QueryFromProto(small, vector), IsOkAndHolds(testing::ElementsAre(1, 2, 255)));
  vector.set_type(v1::ELEMENT_TYPE_F32);
  vector.set_data(FloatBytes({0.5F, 1000, -7}));  // a query need not fit the field's type
  EXPECT_THAT(QueryFromProto(small, vector), IsOkAndHolds(testing::ElementsAre(0.5, 1000, -7)));
  vector.set_type(static_cast<v1::ElementType>(50));
  EXPECT_THAT(QueryFromProto(small, vector), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace tessera::api
