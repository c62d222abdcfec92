#include "base/memory_budget.h"

#include <limits>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::base {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

TEST(MemoryBudget, CountsPerComponentAndGivesBack) {
  MemoryBudget budget(1000);
  {
    ASSERT_OK_AND_ASSIGN(const MemoryReservation heads, budget.Reserve("heads", 300));
    ASSERT_OK_AND_ASSIGN(const MemoryReservation cache, budget.Reserve("cache", 500));
    ASSERT_OK_AND_ASSIGN(const MemoryReservation more, budget.Reserve("cache", 100));
    EXPECT_EQ(budget.used_bytes(), 900U);
    EXPECT_EQ(budget.available_bytes(), 100U);
    EXPECT_THAT(budget.UsageByComponent(),
                UnorderedElementsAre(Pair("heads", 300), Pair("cache", 600)));
  }
  EXPECT_EQ(budget.used_bytes(), 0U);
  EXPECT_THAT(budget.UsageByComponent(), IsEmpty());
}

TEST(MemoryBudget, RefusesWhatDoesNotFitAndSaysWhy) {
  MemoryBudget budget(1 << 20);
  ASSERT_OK_AND_ASSIGN(const MemoryReservation all, budget.Reserve("cache", 1 << 20));
  EXPECT_THAT(budget.Reserve("heads", 1).status(),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("heads"), HasSubstr("1B asked"), HasSubstr("1MiB"))));
  EXPECT_THAT(budget.Reserve("heads", std::numeric_limits<uint64_t>::max()).status(),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(budget.used_bytes(), uint64_t{1} << 20);
  EXPECT_OK(budget.Reserve("heads", 0).status());
}

TEST(MemoryBudget, WithoutALimitItOnlyCounts) {
  MemoryBudget budget(0);
  ASSERT_OK_AND_ASSIGN(const MemoryReservation much, budget.Reserve("x", uint64_t{1} << 60));
  EXPECT_EQ(budget.used_bytes(), uint64_t{1} << 60);
  EXPECT_GT(budget.available_bytes(), uint64_t{1} << 62);
  EXPECT_THAT(budget.Reserve("x", std::numeric_limits<uint64_t>::max()).status(),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(MemoryBudget, ResizeGrowsShrinksOrChangesNothing) {
  MemoryBudget budget(100);
  ASSERT_OK_AND_ASSIGN(MemoryReservation reservation, budget.Reserve("a", 10));
  ASSERT_OK(reservation.Resize(100));
  EXPECT_EQ(budget.used_bytes(), 100U);
  EXPECT_THAT(reservation.Resize(101), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(reservation.bytes(), 100U);
  EXPECT_EQ(budget.used_bytes(), 100U);
  ASSERT_OK(reservation.Resize(0));
  EXPECT_EQ(budget.used_bytes(), 0U);
  ASSERT_OK(reservation.Resize(7));
  EXPECT_EQ(budget.used_bytes(), 7U);
}

TEST(MemoryBudget, AMoveHandsOverAndReleasesOnce) {
  MemoryBudget budget(100);
  ASSERT_OK_AND_ASSIGN(MemoryReservation first, budget.Reserve("a", 40));
  MemoryReservation second = std::move(first);
  EXPECT_EQ(second.bytes(), 40U);
  EXPECT_EQ(budget.used_bytes(), 40U);
  ASSERT_OK_AND_ASSIGN(MemoryReservation third, budget.Reserve("b", 50));
  third = std::move(second);
  EXPECT_EQ(budget.used_bytes(), 40U) << "the 50 were released";
  EXPECT_THAT(budget.UsageByComponent(), UnorderedElementsAre(Pair("a", 40)));
  third = MemoryReservation();
  EXPECT_EQ(budget.used_bytes(), 0U);
}

TEST(MemoryBudget, ManyThreadsNeverGoOverTheLimitAndLeaveNothing) {
  constexpr uint64_t kLimit = 1000;
  constexpr int kThreads = 4;
  MemoryBudget budget(kLimit);
  const uint64_t seed = TestSeed();
  std::vector<std::thread> threads;
  std::atomic<bool> over{false};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 rng(seed + static_cast<uint64_t>(t));
      std::vector<MemoryReservation> held(8);
      for (int i = 0; i < 20000; ++i) {
        MemoryReservation& slot = held[rng() % held.size()];
        if (slot.bytes() > 0 && rng() % 2 == 0) {
          static_cast<void>(slot.Resize(rng() % 300));
        } else {
          auto reserved = budget.Reserve(t % 2 == 0 ? "even" : "odd", rng() % 300);
          if (reserved.ok()) slot = *std::move(reserved);
        }
        if (budget.used_bytes() > kLimit) over = true;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(over);
  EXPECT_EQ(budget.used_bytes(), 0U);
  EXPECT_THAT(budget.UsageByComponent(), IsEmpty());
}

TEST(ByteSize, ParsesUnitsAndFractions) {
  EXPECT_THAT(ParseByteSize("1048576"), IsOkAndHolds(1048576U));
  EXPECT_THAT(ParseByteSize("768MiB"), IsOkAndHolds(uint64_t{768} << 20));
  EXPECT_THAT(ParseByteSize("2GB"), IsOkAndHolds(2'000'000'000U));
  EXPECT_THAT(ParseByteSize("1.5 gib"), IsOkAndHolds(uint64_t{3} << 29));
  EXPECT_THAT(ParseByteSize("0"), IsOkAndHolds(0U));
  EXPECT_THAT(ParseByteSize("0.000001MB"), IsOkAndHolds(1U));
  EXPECT_THAT(ParseByteSize("16777215.999999TiB"), IsOkAndHolds(testing::Gt(uint64_t{1} << 63)));
  EXPECT_THAT(ParseByteSize("18446744073709551615"),
              IsOkAndHolds(std::numeric_limits<uint64_t>::max()));
}

TEST(ByteSize, RefusesWhatIsNotASize) {
  for (const char* text :
       {"", "MiB", "-1", "+1", " 1", "1 ", "1  MiB", "1MiBs", "1M", "1.MiB", ".5GB", "1e3", "0x10",
        "1.0000001GB", "18446744073709551616", "16777216TiB", "99999999999999999999999TB"}) {
    EXPECT_THAT(ParseByteSize(text).status(), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

TEST(ByteSize, FormatsInTheLargestUnit) {
  EXPECT_EQ(FormatByteSize(0), "0B");
  EXPECT_EQ(FormatByteSize(1023), "1023B");
  EXPECT_EQ(FormatByteSize(1024), "1KiB");
  EXPECT_EQ(FormatByteSize(1536), "1.5KiB");
  EXPECT_EQ(FormatByteSize(uint64_t{768} << 20), "768MiB");
  EXPECT_EQ(FormatByteSize(uint64_t{5} << 40), "5TiB");
  for (const uint64_t exact : {uint64_t{17}, uint64_t{3} << 30, uint64_t{1} << 50}) {
    EXPECT_THAT(ParseByteSize(FormatByteSize(exact)), IsOkAndHolds(exact));
  }
}

}  // namespace
}  // namespace tessera::base
