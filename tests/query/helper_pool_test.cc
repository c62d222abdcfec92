#include "query/helper_pool.h"

#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace tessera::query {
namespace {

TEST(HelperPool, WithoutThreadsTheCallerWorksAlone) {
  HelperPool pool(0);
  int calls = 0;
  pool.Run(8, [&] { ++calls; });
  EXPECT_EQ(calls, 1);
}

TEST(HelperPool, NoMoreHelpersThanWanted) {
  HelperPool pool(8);
  std::atomic<int> calls{0};
  pool.Run(2, [&] {
    ++calls;
    while (calls < 3) std::this_thread::yield();
  });
  EXPECT_EQ(calls, 3);
}

TEST(HelperPool, NobodyWorksAfterRunHasReturned) {
  HelperPool pool(3);
  for (int round = 0; round < 2000; ++round) {
    std::atomic<int> next{0};
    std::vector<int> parts(7);  // freed at the end of the round: a late helper is a use after free
    pool.Run(3, [&] {
      for (;;) {
        const int part = next.fetch_add(1);
        if (part >= 7) return;
        ++parts[static_cast<size_t>(part)];
      }
    });
    EXPECT_EQ(parts, std::vector<int>(7, 1));
  }
}

TEST(HelperPool, SeveralCallersShareTheThreads) {
  HelperPool pool(2);
  std::mutex mu;
  std::set<std::thread::id> workers;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        std::atomic<int> left{10};
        pool.Run(2, [&] {
          while (left.fetch_sub(1) > 0) {
            const std::lock_guard<std::mutex> lock(mu);
            workers.insert(std::this_thread::get_id());
          }
        });
        EXPECT_LE(left, 0);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_LE(workers.size(), 6U);
}

}  // namespace
}  // namespace tessera::query
