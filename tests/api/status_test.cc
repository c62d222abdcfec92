#include "api/status.h"

#include <string>

#include <google/rpc/error_details.pb.h>

#include "tests/api/grpc_fixture.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using testing::HasSubstr;

google::rpc::ErrorInfo InfoOf(const grpc::Status& status) {
  google::rpc::ErrorInfo info;
  EXPECT_TRUE(DetailsOf(status).details(0).UnpackTo(&info));
  return info;
}

TEST(Status, EveryCodeKeepsItsNumberAndMessageBothWays) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "why");
    const grpc::Status sent = ToGrpc(status);
    EXPECT_EQ(static_cast<int>(sent.error_code()), code);
    EXPECT_EQ(sent.error_message(), "why");
    EXPECT_EQ(DetailsOf(sent).code(), code);
    EXPECT_EQ(DetailsOf(sent).message(), "why");
    EXPECT_EQ(InfoOf(sent).reason(), absl::StatusCodeToString(status.code()));
    EXPECT_EQ(InfoOf(sent).domain(), "tessera");
    EXPECT_EQ(FromGrpc(sent), status);
  }
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
  EXPECT_OK(FromGrpc(grpc::Status::OK));
}

TEST(Status, DetailsSayWhetherTryingAgainCanHelp) {
  EXPECT_EQ(InfoOf(ToGrpc(absl::UnavailableError("x"))).metadata().at("retriable"), "true");
  EXPECT_EQ(InfoOf(ToGrpc(absl::ResourceExhaustedError("x"))).metadata().at("retriable"), "true");
  EXPECT_EQ(InfoOf(ToGrpc(absl::NotFoundError("x"))).metadata().at("retriable"), "false");
}

TEST(Status, TheFieldAtFaultIsInTheDetails) {
  const grpc::Status sent = ToGrpc(InvalidField("batch.ids", "3 ids, 4 vectors"));
  EXPECT_THAT(sent, GrpcStatusIs(grpc::StatusCode::INVALID_ARGUMENT,
                                 std::string("batch.ids: 3 ids, 4 vectors")));
  EXPECT_EQ(BlamedField(sent), "batch.ids");
  EXPECT_EQ(BlamedField(ToGrpc(absl::InvalidArgumentError("nobody's"))), "");
  EXPECT_EQ(BlamedField(ToGrpc(BlameField(absl::NotFoundError("x"), "point"))), "point");
  EXPECT_OK(BlameField(absl::OkStatus(), "point"));
}

TEST(Status, BlameIfInvalidNeitherOverwritesNorBlamesOtherErrors) {
  EXPECT_EQ(BlamedField(ToGrpc(BlameIfInvalid(absl::InvalidArgumentError("x"), "a"))), "a");
  EXPECT_EQ(BlamedField(ToGrpc(BlameIfInvalid(InvalidField("b", "x"), "a"))), "b");
  EXPECT_EQ(BlamedField(ToGrpc(BlameIfInvalid(absl::NotFoundError("x"), "a"))), "");
  EXPECT_OK(BlameIfInvalid(absl::OkStatus(), "a"));
}

TEST(Status, PrefixedKeepsCodeAndField) {
  const absl::Status status = Prefixed("query 3: ", InvalidField("queries", "NaN"));
  EXPECT_THAT(status,
              StatusIs(absl::StatusCode::kInvalidArgument, std::string("query 3: queries: NaN")));
  EXPECT_EQ(BlamedField(ToGrpc(status)), "queries");
}

TEST(Status, LongMessagesAreCutBetweenCharacters) {
  std::string long_message(1, 'x');
  for (int i = 0; i < 4000; ++i) long_message.append("\xc3\xa4");
  const std::string sent = ToGrpc(absl::InternalError(long_message)).error_message();
  EXPECT_EQ(sent.size(), kStatusMessageBytesMax - 1 + 3);
  EXPECT_THAT(sent, HasSubstr("\xc3\xa4..."));
}

}  // namespace
}  // namespace tessera::api
