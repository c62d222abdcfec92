#include "base/status_macros.h"

#include <memory>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "base/check.h"
#include "base/clock.h"
#include "tests/support/status_matchers.h"

namespace tessera::base {
namespace {

absl::StatusOr<int> Half(int number) {
  if (number % 2 != 0) return absl::InvalidArgumentError("odd");
  return number / 2;
}

absl::StatusOr<int> Quarter(int number) {
  TESSERA_ASSIGN_OR_RETURN(const int half, Half(number));
  int quarter = 0;
  TESSERA_ASSIGN_OR_RETURN(quarter, Half(half));
  return quarter;
}

absl::Status Check(int number, int* calls) {
  TESSERA_RETURN_IF_ERROR(Half(number).status());
  ++*calls;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<int>> Moved() {
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<int> box,
                           absl::StatusOr<std::unique_ptr<int>>(std::make_unique<int>(5)));
  return box;
}

TEST(StatusMacros, AssignPassesValuesOnAndReturnsErrors) {
  EXPECT_THAT(Quarter(8), IsOkAndHolds(2));
  EXPECT_THAT(Quarter(7), StatusIs(absl::StatusCode::kInvalidArgument, "odd"));
  EXPECT_THAT(Quarter(6), StatusIs(absl::StatusCode::kInvalidArgument));
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<int> box, Moved());
  EXPECT_EQ(*box, 5);
}

TEST(StatusMacros, ReturnIfErrorStopsAtTheError) {
  int calls = 0;
  EXPECT_OK(Check(2, &calls));
  EXPECT_THAT(Check(3, &calls), testing::Not(IsOk()));
  EXPECT_EQ(calls, 1);
}

TEST(CheckDeathTest, AFailedCheckSaysWhereAndWhat) {
  const int number = 1;
  TESSERA_CHECK(number == 1);
  EXPECT_DEATH(TESSERA_CHECK(number == 2), "status_macros_test.cc:.*check failed: number == 2");
  EXPECT_DEATH(TESSERA_FATAL("lost"), "lost");
}

TEST(Clock, TheSystemsClockIsThatOfAbseil) {
  const absl::Time before = absl::Now();
  const absl::Time now = SystemClock().Now();
  EXPECT_LE(before, now + absl::Seconds(60));
  EXPECT_LE(now, absl::Now() + absl::Seconds(60));
}

}  // namespace
}  // namespace tessera::base
