#include "base/deadline.h"

#include "gtest/gtest.h"

namespace tessera::base {
namespace {

TEST(Deadline, WithoutOneItNeverPasses) {
  EXPECT_TRUE(Deadline().never());
  EXPECT_FALSE(Deadline::Never().Passed());
  EXPECT_EQ(Deadline().Left(), absl::InfiniteDuration());
}

TEST(Deadline, PassesAtItsTime) {
  EXPECT_TRUE(Deadline::After(absl::ZeroDuration()).Passed());
  EXPECT_TRUE(Deadline::After(-absl::InfiniteDuration()).Passed());
  EXPECT_EQ(Deadline::After(-absl::Hours(1)).Left(), absl::ZeroDuration());
  const Deadline later = Deadline::After(absl::Hours(1));
  EXPECT_FALSE(later.Passed());
  EXPECT_LE(later.Left(), absl::Hours(1));
  EXPECT_GT(later.Left(), absl::Minutes(50));
  EXPECT_LT(later, Deadline::After(absl::Hours(2)));
}

TEST(Deadline, BeyondTheClockIsNever) {
  EXPECT_TRUE(Deadline::After(absl::InfiniteDuration()).never());
  EXPECT_TRUE(Deadline::After(absl::Hours(24 * 365 * 1000)).never());
}

}  // namespace
}  // namespace tessera::base
