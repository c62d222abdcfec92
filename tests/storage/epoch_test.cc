// When memory that guards could see may be used again.
#include "storage/epoch.h"

#include <memory>
#include <thread>

#include "gtest/gtest.h"

namespace tessera::storage {
namespace {

TEST(Epoch, MemoryPassesWhenTheLastGuardThatCouldSeeItIsGone) {
  EXPECT_EQ(OldestPinnedEpoch(), UINT64_MAX);
  const auto passed = [](uint64_t stamp) { return EpochPassed(stamp, OldestPinnedEpoch()); };
  EXPECT_TRUE(passed(RetireEpoch()));
  auto first = std::make_unique<CacheGuard>();
  const uint64_t stamp = RetireEpoch();
  EXPECT_FALSE(passed(stamp));
  {
    // A thread that begins afterwards does not hold it back, and leaves no trace.
    std::thread([&] {
      CacheGuard other;
      EXPECT_FALSE(passed(stamp));
    }).join();
    CacheGuard nested;
    first.reset();
    EXPECT_FALSE(passed(stamp));  // the nested one keeps the outer one's pin
  }
  EXPECT_TRUE(passed(stamp));
  CacheGuard later;
  EXPECT_TRUE(passed(stamp));
  const uint64_t second = RetireEpoch();
  EXPECT_FALSE(passed(second));
  later.Refresh();
  EXPECT_TRUE(passed(second));
}

}  // namespace
}  // namespace tessera::storage
