// Windows of reads from a budget that has room, little room, and none.
#include "storage/read_window.h"

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/support/status_matchers.h"

namespace tessera::storage {
namespace {

constexpr std::chrono::milliseconds kLong{60'000};

TEST(ReadWindows, TakesWhatTheBudgetHas) {
  base::MemoryBudget budget(1000);
  ASSERT_OK_AND_ASSIGN(auto windows, ReadWindows::Create(budget, 100, kLong));
  EXPECT_EQ(budget.used_bytes(), 100U);
  {
    ASSERT_OK_AND_ASSIGN(const ReadWindow all, windows->Take(800, 300));
    EXPECT_EQ(all.bytes(), 800U);
    ASSERT_OK_AND_ASSIGN(const ReadWindow least, windows->Take(800, 100));
    EXPECT_EQ(least.bytes(), 100U);
    EXPECT_EQ(budget.used_bytes(), 1000U);
  }
  EXPECT_EQ(budget.used_bytes(), 100U);
  EXPECT_THAT(ReadWindows::Create(budget, 901, kLong),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(ReadWindows, ThereIsOneTurnAtATimeWhenTheBudgetIsFull) {
  base::MemoryBudget budget(1000);
  ASSERT_OK_AND_ASSIGN(auto windows, ReadWindows::Create(budget, 100, kLong));
  ASSERT_OK_AND_ASSIGN(const base::MemoryReservation rest, budget.Reserve("else", 900));
  std::atomic<int> at_once{0};
  std::atomic<int> most{0};
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 20; ++turn) {
        const auto window = windows->Take(500, 60);
        failed += window.ok() && window->bytes() == 100 ? 0 : 1;
        const int now = at_once.fetch_add(1) + 1;
        if (now > most) most = now;
        at_once.fetch_sub(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(most, 1);
  EXPECT_EQ(budget.used_bytes(), 1000U);
}

TEST(ReadWindows, WaitsForTheBudgetAndGivesUp) {
  base::MemoryBudget budget(1000);
  ASSERT_OK_AND_ASSIGN(auto windows,
                       ReadWindows::Create(budget, 100, std::chrono::milliseconds(10)));
  ASSERT_OK_AND_ASSIGN(base::MemoryReservation rest, budget.Reserve("else", 900));
  EXPECT_THAT(windows->Take(500, 101), StatusIs(absl::StatusCode::kResourceExhausted));
  ASSERT_OK_AND_ASSIGN(std::optional<ReadWindow> turn, windows->Take(50, 50));
  EXPECT_THAT(windows->Take(50, 50), StatusIs(absl::StatusCode::kResourceExhausted));
  turn.reset();
  EXPECT_OK(windows->Take(50, 50));
}

}  // namespace
}  // namespace tessera::storage
