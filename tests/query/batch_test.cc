#include "query/batch.h"

#include <atomic>
#include <new>
#include <thread>
#include <vector>

#include "absl/strings/cord.h"
#include "gtest/gtest.h"

#include "tests/support/status_matchers.h"

namespace tessera::query {
namespace {

using ::testing::HasSubstr;

TEST(Batch, EveryQueryRunsOnce) {
  HelperPool pool(3);
  for (const size_t count : {0, 1, 3, 50, 1000}) {
    std::vector<std::atomic<int>> runs(count);
    EXPECT_OK(RunBatch(pool, count, false, [&](size_t query) {
      ++runs[query];
      return absl::OkStatus();
    }));
    for (const std::atomic<int>& of_query : runs) EXPECT_EQ(of_query, 1);
  }
}

TEST(Batch, SeveralRunAtATime) {
  HelperPool pool(2);
  std::atomic<int> running{0};
  EXPECT_OK(RunBatch(pool, 12, false, [&](size_t) {
    ++running;
    while (running < 3) std::this_thread::yield();
    return absl::OkStatus();
  }));
}

TEST(Batch, AFailureEndsItAndKeepsItsPayload) {
  HelperPool pool(2);
  std::atomic<int> after{0};
  const absl::Status status = RunBatch(pool, 100'000, false, [&](size_t query) {
    if (query == 7) {
      absl::Status failed = absl::DataLossError("it is broken");
      failed.SetPayload("url", absl::Cord("value"));
      return failed;
    }
    ++after;
    return absl::OkStatus();
  });
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, "query 7: it is broken"));
  EXPECT_EQ(status.GetPayload("url"), absl::Cord("value"));
  EXPECT_LT(after, 99'999);
}

TEST(Batch, OutOfMemoryIsAnAnswer) {
  HelperPool pool(0);
  EXPECT_THAT(RunBatch(pool, 2, false, [](size_t) -> absl::Status { throw std::bad_alloc(); }),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("query 0")));
}

}  // namespace
}  // namespace tessera::query
