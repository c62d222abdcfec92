#include "api/rpc/executor.h"

#include <atomic>

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

#include "tests/api/grpc_fixture.h"

namespace tessera::api {
namespace {

TEST(Executor, AShareWhoseTasksWaitDoesNotStopOthers) {
  absl::Notification gate;
  std::atomic<int> waiting{0};
  std::atomic<int> done{0};
  {
    Executor executor({.threads_max = 4, .share_threads_max = 2, .queue_max = 100});
    for (int i = 0; i < 20; ++i) {
      EXPECT_TRUE(executor.Submit("stuck", [&] {
        ++waiting;
        gate.WaitForNotification();
      }));
    }
    WaitUntil([&] { return waiting == 2; });
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(executor.Submit("free", [&] { ++done; }));
    WaitUntil([&] { return done == 10; });
    EXPECT_EQ(waiting, 2) << "no more than the share's threads";
    gate.Notify();
  }
  EXPECT_EQ(waiting, 20) << "what is queued runs before the end";
}

TEST(Executor, SharesTakeTurns) {
  absl::Notification gate;
  std::string order;
  {
    Executor executor({.threads_max = 1, .share_threads_max = 1, .queue_max = 100});
    executor.Resume("first", [&] { gate.WaitForNotification(); });
    for (int i = 0; i < 3; ++i) executor.Resume("a", [&] { order += 'a'; });
    for (int i = 0; i < 3; ++i) executor.Resume("b", [&] { order += 'b'; });
    gate.Notify();
  }
  EXPECT_EQ(order, "ababab");
}

TEST(Executor, QueuesAreBounded) {
  absl::Notification gate;
  std::atomic<int> begun{0};
  Executor executor({.threads_max = 2, .share_threads_max = 1, .queue_max = 8});
  const auto wait = [&] {
    ++begun;
    gate.WaitForNotification();
  };
  ASSERT_TRUE(executor.Submit("a", wait));
  ASSERT_TRUE(executor.Submit("b", wait));
  WaitUntil([&] { return begun == 2; });
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(executor.Submit("a", wait));
  EXPECT_FALSE(executor.Submit("a", wait)) << "half of the queue";
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(executor.Submit("b", wait));
  EXPECT_FALSE(executor.Submit("c", wait)) << "all of it";
  executor.Resume("c", wait);
  gate.Notify();
}

}  // namespace
}  // namespace tessera::api
