#include "base/status_details.h"

#include "gtest/gtest.h"

#include "tests/support/status_matchers.h"

namespace tessera::base {
namespace {

TEST(StatusDetails, TheFieldAtFaultIsNamedInTextAndDetail) {
  const absl::Status status = InvalidField("limit", "is 0");
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, "limit: is 0"));
  EXPECT_EQ(BlamedField(status), "limit");
  EXPECT_EQ(BlamedField(BlameField(status, "search.limit")), "search.limit");
  EXPECT_EQ(BlamedField(absl::InternalError("x")), std::nullopt);
  EXPECT_OK(BlameField(absl::OkStatus(), "limit"));
}

TEST(StatusDetails, LimitsAndPrefixesStayTogether) {
  const absl::Status status =
      Prefixed("point 2: ", OverLimit(BlameField(absl::ResourceExhaustedError("big"), "data"), 7, 5));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted, "point 2: big"));
  ASSERT_TRUE(LimitOf(status).has_value());
  EXPECT_EQ(LimitOf(status)->actual, 7U);
  EXPECT_EQ(LimitOf(status)->limit, 5U);
  EXPECT_EQ(BlamedField(status), "data");
  EXPECT_FALSE(LimitOf(absl::ResourceExhaustedError("busy")).has_value());
}

}  // namespace
}  // namespace tessera::base
