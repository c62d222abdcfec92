#include <atomic>
#include <memory>
#include <optional>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/memory_budget.h"
#include "db/jobs/build_memory.h"
#include "db/jobs/fresh_budget.h"
#include "tests/support/status_matchers.h"

namespace tessera::db {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

TEST(BuildMemory, AShortJobHasItsShareWhateverElseIsTaken) {
  base::MemoryBudget budget(100 * kMiB);
  ASSERT_OK_AND_ASSIGN(const auto builds, BuildMemory::Create(budget, 60 * kMiB));
  ASSERT_OK_AND_ASSIGN(const auto rest, budget.Reserve("index", 100 * kMiB - budget.used_bytes()));
  const std::atomic<bool> cancelled{false};
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK_AND_ASSIGN(const BuildMemory::Share share,
                         builds->Take(JobLength::kShort, cancelled));
    EXPECT_EQ(share.bytes(), 15 * kMiB);
  }
}

TEST(BuildMemory, LongJobsLeaveTheShareOfShortOnesAndRoomForEachOther) {
  base::MemoryBudget budget(100 * kMiB);
  ASSERT_OK_AND_ASSIGN(const auto builds, BuildMemory::Create(budget, 80 * kMiB));
  const std::atomic<bool> cancelled{false};
  {
    ASSERT_OK_AND_ASSIGN(const auto first, builds->Take(JobLength::kLong, cancelled));
    ASSERT_OK_AND_ASSIGN(const auto second, builds->Take(JobLength::kLong, cancelled));
    ASSERT_OK_AND_ASSIGN(const auto shorter, builds->Take(JobLength::kShort, cancelled));
    EXPECT_EQ(first.bytes(), 40 * kMiB);
    EXPECT_GE(second.bytes(), BuildMemory::kShareBytesMin);
    EXPECT_LE(budget.used_bytes(), 80 * kMiB);
  }
  EXPECT_EQ(budget.used_bytes(), 20 * kMiB);
}

TEST(BuildMemory, WaitsForAShareAndCanBeCancelled) {
  base::MemoryBudget budget(100 * kMiB);
  ASSERT_OK_AND_ASSIGN(const auto builds, BuildMemory::Create(budget, 40 * kMiB));
  std::atomic<bool> cancelled{false};
  std::optional<BuildMemory::Share> held;
  {
    auto share = builds->Take(JobLength::kShort, cancelled);
    ASSERT_OK(share);
    held.emplace(*std::move(share));
  }
  std::atomic<bool> got{false};
  std::thread waiter([&] {
    EXPECT_OK(builds->Take(JobLength::kShort, cancelled));
    got = true;
  });
  EXPECT_FALSE(got);
  held.reset();
  waiter.join();
  ASSERT_OK_AND_ASSIGN(const auto share, builds->Take(JobLength::kShort, cancelled));
  cancelled = true;
  EXPECT_THAT(builds->Take(JobLength::kShort, cancelled), StatusIs(absl::StatusCode::kCancelled));
}

struct Holder : FreshHolder {
  absl::Status AbsorbFresh() override { return absl::OkStatus(); }
  void RequestMaintenance() override {}
};

TEST(FreshBudget, OneBudgetForAllAndTheLargestIsKnown) {
  base::MemoryBudget budget(100 * kMiB);
  ASSERT_OK_AND_ASSIGN(const auto fresh, FreshBudget::Create(budget, 1000));
  EXPECT_EQ(fresh->Largest(), nullptr);
  const auto a = std::make_shared<Holder>();
  auto b = std::make_shared<Holder>();
  ASSERT_OK(fresh->Resize(1, a, 400));
  ASSERT_OK(fresh->Resize(2, b, 500));
  EXPECT_EQ(fresh->Largest(), b);
  EXPECT_FALSE(fresh->IsLargest(1));
  EXPECT_THAT(fresh->Resize(1, a, 501), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(fresh->used_bytes(), 900U);
  ASSERT_OK(fresh->Resize(2, b, 100));
  ASSERT_OK(fresh->Resize(1, a, 501));
  EXPECT_EQ(fresh->Largest(), a);
  fresh->Forget(1);
  EXPECT_EQ(fresh->Largest(), b);
  EXPECT_EQ(fresh->used_bytes(), 100U);
  // One that is gone is nobody to turn to.
  b.reset();
  EXPECT_EQ(fresh->Largest(), nullptr);
}

TEST(FreshBudget, SomeRoomIsThereWhateverElseIsTaken) {
  base::MemoryBudget budget(10'000);
  ASSERT_OK_AND_ASSIGN(const auto fresh, FreshBudget::Create(budget, 4000));
  ASSERT_OK_AND_ASSIGN(const auto rest, budget.Reserve("index", 9000));
  const auto a = std::make_shared<Holder>();
  ASSERT_OK(fresh->Resize(1, a, 1000));
  EXPECT_THAT(fresh->Resize(1, a, 1001), StatusIs(absl::StatusCode::kResourceExhausted));
}

}  // namespace
}  // namespace tessera::db
