#include "tests/api/grpc_fixture.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class CollectionsService : public GrpcTest {
 protected:
  grpc::Status Create(const v1::CollectionSchema& schema) {
    v1::CreateCollectionRequest request;
    *request.mutable_schema() = schema;
    v1::CreateCollectionResponse response;
    grpc::ClientContext context;
    return collections_->Create(&context, request, &response);
  }

  static v1::CollectionSchema Schema(const std::string& name, uint32_t dim) {
    v1::CollectionSchema schema;
    schema.set_name(name);
    v1::VectorField* field = schema.add_vectors();
    field->set_dim(dim);
    field->set_metric(v1::METRIC_COSINE);
    return schema;
  }
};

TEST_F(CollectionsService, CreateKeepsEveryFieldOfTheSchema) {
  v1::CollectionSchema schema = Schema("articles", 8);
  v1::VectorField* image = schema.add_vectors();
  image->set_name("image");
  image->set_dim(3);
  image->set_metric(v1::METRIC_IP);
  image->set_type(v1::ELEMENT_TYPE_U8);
  ASSERT_TRUE(Create(schema).ok());

  const base::CollectionSchema& made = database_.collection("articles")->schema();
  ASSERT_EQ(made.vectors.size(), 2U);
  EXPECT_EQ(
      made.vectors[0],
      (base::VectorFieldSchema{
          .name = "", .dim = 8, .metric = base::Metric::kCosine, .type = base::ElementType::kF32}));
  EXPECT_EQ(made.vectors[1], (base::VectorFieldSchema{.name = "image",
                                                      .dim = 3,
                                                      .metric = base::Metric::kInnerProduct,
                                                      .type = base::ElementType::kU8}));
}

TEST_F(CollectionsService, CreateAnswersBadSchemasWithTheFieldAndTheRange) {
  v1::CollectionSchema schema = Schema("a", 8);
  schema.mutable_vectors(0)->set_metric(v1::METRIC_UNSPECIFIED);
  grpc::Status status = Create(schema);
  EXPECT_THAT(status, GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT,
                                   HasSubstr("metric is 0, must be 1 (l2), 2 (ip) or 3 (cosine)")));
  EXPECT_EQ(BlamedField(status), "schema.vectors[0].metric");

  schema = Schema("a", 8);
  schema.mutable_vectors(0)->set_type(static_cast<v1::ElementType>(77));
  status = Create(schema);
  EXPECT_THAT(status,
              GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("77, must be 0 .. 4")));
  EXPECT_EQ(BlamedField(status), "schema.vectors[0].type");

  status = Create(Schema("a", 16385));
  EXPECT_THAT(status, GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT,
                                   AllOf(HasSubstr("16385"), HasSubstr("16384"))));
  EXPECT_EQ(BlamedField(status), "schema");
  EXPECT_THAT(Create(Schema("a/b", 8)),
              GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT, HasSubstr("a/b")));
  EXPECT_EQ(database_.ListCollections().size(), 1U);
}

TEST_F(CollectionsService, CreateOfAnExistingNameIsAlreadyExists) {
  EXPECT_THAT(Create(Schema("c", 8)),
              GrpcStatusIs(grpc::StatusCode::ALREADY_EXISTS, HasSubstr("c")));
}

TEST_F(CollectionsService, DropRemovesOneAndNamesTheAbsent) {
  v1::DropCollectionRequest request;
  request.set_collection("c");
  v1::DropCollectionResponse response;
  grpc::ClientContext first;
  EXPECT_TRUE(collections_->Drop(&first, request, &response).ok());
  grpc::ClientContext second;
  EXPECT_THAT(collections_->Drop(&second, request, &response),
              GrpcStatusIs(grpc::StatusCode::NOT_FOUND, HasSubstr("c")));
}

TEST_F(CollectionsService, ListHasEverySchemaAndTheMemory) {
  ASSERT_TRUE(Create(Schema("b", 8)).ok());
  v1::ListCollectionsResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(collections_->List(&context, {}, &response).ok());
  ASSERT_EQ(response.collections_size(), 2);
  EXPECT_EQ(response.collections(0).name(), "b");
  EXPECT_EQ(response.collections(1).name(), "c");
  EXPECT_EQ(response.collections(1).vectors(0).dim(), 4U);
  EXPECT_EQ(response.memory().limit_bytes(), uint64_t{1} << 30);
  EXPECT_EQ(response.memory().used_bytes(), uint64_t{1} << 20);
  EXPECT_GT(response.memory().resident_bytes(), 0U);
  EXPECT_EQ(response.memory().components().at("fake"), uint64_t{1} << 20);
}

TEST_F(CollectionsService, DescribeHasSizesOfEveryField) {
  Fill(7);
  v1::DescribeCollectionRequest request;
  request.set_collection("c");
  v1::DescribeCollectionResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(collections_->Describe(&context, request, &response).ok());
  EXPECT_EQ(response.schema().name(), "c");
  EXPECT_EQ(response.points(), 7U);
  ASSERT_EQ(response.fields_size(), 1);
  EXPECT_EQ(response.fields(0).absorbed_rows(), 7U);
  EXPECT_EQ(response.fields(0).lists(), 3U);
  EXPECT_EQ(response.fields(0).memory_bytes(), 1000U);
  EXPECT_EQ(response.fields(0).disk_bytes(), 2000U);
  EXPECT_EQ(response.fields(0).default_nprobe(), 2U);

  request.set_collection("nobody");
  grpc::ClientContext other;
  EXPECT_THAT(collections_->Describe(&other, request, &response),
              GrpcStatusIs(grpc::StatusCode::NOT_FOUND, HasSubstr("nobody")));
}

}  // namespace
}  // namespace tessera::api
