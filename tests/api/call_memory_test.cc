#include "api/call_memory.h"

#include <thread>
#include <utility>

#include "absl/time/clock.h"

#include "tests/api/grpc_fixture.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using testing::HasSubstr;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr std::chrono::milliseconds kNoWait{0};

TEST(CallMemory, LeasesGiveBackWhatTheyTook) {
  CallMemory memory(10 * kMiB, kNoWait);
  {
    ASSERT_OK_AND_ASSIGN(CallMemory::Lease first, memory.Take(6 * kMiB, absl::InfiniteFuture()));
    ASSERT_OK_AND_ASSIGN(CallMemory::Lease second, memory.Take(4 * kMiB, absl::InfiniteFuture()));
    EXPECT_EQ(memory.used_bytes(), 10 * kMiB);
    first = CallMemory::Lease();
    EXPECT_EQ(memory.used_bytes(), 4 * kMiB);
    const CallMemory::Lease moved = std::move(second);
    EXPECT_EQ(memory.used_bytes(), 4 * kMiB);
  }
  EXPECT_EQ(memory.used_bytes(), 0U);
}

TEST(CallMemory, SmallCallsAreNotCounted) {
  CallMemory memory(kMiB, kNoWait);
  ASSERT_OK_AND_ASSIGN(const CallMemory::Lease lease,
                       memory.Take(CallMemory::kSmallBytes - 1, absl::InfiniteFuture()));
  EXPECT_EQ(memory.used_bytes(), 0U);
}

TEST(CallMemory, ACallThatIsAloneAlwaysFits) {
  CallMemory memory(kMiB, kNoWait);
  ASSERT_OK_AND_ASSIGN(const CallMemory::Lease lease,
                       memory.Take(5 * kMiB, absl::InfiniteFuture()));
  EXPECT_EQ(memory.used_bytes(), 5 * kMiB);
}

TEST(CallMemory, WithoutRoomTheAnswerNamesUseRequestAndBound) {
  CallMemory memory(2'000'000, kNoWait);
  ASSERT_OK_AND_ASSIGN(const CallMemory::Lease lease,
                       memory.Take(1'500'000, absl::InfiniteFuture()));
  EXPECT_THAT(
      memory.Take(600'000, absl::InfiniteFuture()).status(),
      StatusIs(absl::StatusCode::kResourceExhausted,
               testing::AllOf(HasSubstr("1500000"), HasSubstr("600000"), HasSubstr("2000000"))));
}

TEST(CallMemory, NobodyWaitsBeyondTheDeadline) {
  CallMemory memory(kMiB, std::chrono::hours(1));
  ASSERT_OK_AND_ASSIGN(const CallMemory::Lease lease, memory.Take(kMiB, absl::InfiniteFuture()));
  EXPECT_THAT(memory.Take(kMiB, absl::Now() - absl::Seconds(1)).status(),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST(CallMemory, AWaitingCallGetsWhatAnotherGivesBack) {
  CallMemory memory(kMiB, std::chrono::hours(1));
  absl::StatusOr<CallMemory::Lease> first = memory.Take(kMiB, absl::InfiniteFuture());
  ASSERT_OK(first);
  std::thread waiter([&] { EXPECT_OK(memory.Take(kMiB, absl::InfiniteFuture())); });
  *first = CallMemory::Lease();
  waiter.join();
  EXPECT_EQ(memory.used_bytes(), 0U);
}

}  // namespace
}  // namespace tessera::api
