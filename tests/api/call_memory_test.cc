#include "api/call_memory.h"

#include <atomic>
#include <optional>
#include <utility>

#include "base/status_details.h"
#include "tests/api/grpc_fixture.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr uint64_t kMiB = uint64_t{1} << 20;

class CallMemoryTest : public testing::Test {
 protected:
  // What a wait came to; nullopt while it lasts.
  struct Waiting {
    CallMemory::Lease lease;
    uint64_t id = 0;
    std::atomic<bool> done{false};
    absl::Status status;
  };
  void Wait(CallMemory& memory, uint64_t bytes, Waiting* out,
            base::Deadline deadline = base::Deadline::Never()) {
    out->id = memory.NewWaiter();
    memory.Wait(out->id, &out->lease, bytes, deadline, [out](const absl::Status& status) {
      out->status = status;
      out->done = true;
    });
  }

  Timers timers_;
};

TEST_F(CallMemoryTest, LeasesGrowAndGiveBackWhatTheyTook) {
  CallMemory memory(10 * kMiB, absl::Hours(1), timers_);
  {
    CallMemory::Lease first;
    CallMemory::Lease second;
    EXPECT_TRUE(memory.TryGrow(&first, 4 * kMiB));
    EXPECT_TRUE(memory.TryGrow(&second, 4 * kMiB));
    EXPECT_TRUE(memory.TryGrow(&first, 6 * kMiB));
    EXPECT_FALSE(memory.TryGrow(&second, 5 * kMiB));
    EXPECT_EQ(memory.used_bytes(), 10 * kMiB);
    first = CallMemory::Lease();
    EXPECT_EQ(memory.used_bytes(), 4 * kMiB);
    const CallMemory::Lease moved = std::move(second);
    EXPECT_EQ(memory.used_bytes(), 4 * kMiB);
  }
  EXPECT_EQ(memory.used_bytes(), 0U);
}

TEST_F(CallMemoryTest, SmallCallsAreNotCounted) {
  CallMemory memory(kMiB, absl::Hours(1), timers_);
  CallMemory::Lease lease;
  EXPECT_TRUE(memory.TryGrow(&lease, CallMemory::kSmallBytes - 1));
  EXPECT_EQ(memory.used_bytes(), 0U);
}

TEST_F(CallMemoryTest, WhatCanNeverBeHadIsRefusedForGood) {
  const CallMemory memory(1'000'000, absl::Hours(1), timers_);
  EXPECT_OK(memory.CheckSize("the call", 1'000'000));
  const absl::Status status = memory.CheckSize("the call", 1'000'001);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted,
                               AllOf(HasSubstr("1000001"), HasSubstr("1000000"))));
  EXPECT_TRUE(base::LimitOf(status).has_value());
}

TEST_F(CallMemoryTest, WhoWaitsIsServedInTurnButHoldersFirst) {
  CallMemory memory(10 * kMiB, absl::Hours(1), timers_);
  CallMemory::Lease rest;
  Waiting first;
  Waiting second;
  Waiting holder;
  ASSERT_TRUE(memory.TryGrow(&rest, 7 * kMiB));
  ASSERT_TRUE(memory.TryGrow(&holder.lease, 2 * kMiB));
  Wait(memory, 4 * kMiB, &first);
  Wait(memory, kMiB, &second);
  CallMemory::Lease late;
  EXPECT_FALSE(memory.TryGrow(&late, kMiB)) << "others came before";
  EXPECT_FALSE(second.done);
  Wait(memory, 4 * kMiB, &holder);
  rest = CallMemory::Lease();
  EXPECT_TRUE(holder.done);
  EXPECT_TRUE(first.done);
  EXPECT_TRUE(second.done);
  EXPECT_OK(second.status);
  EXPECT_EQ(memory.used_bytes(), 9 * kMiB);
}

TEST_F(CallMemoryTest, OneShareLeavesRoomForOthers) {
  CallMemory memory(10 * kMiB, absl::Hours(1), timers_);
  CallMemory::Lease first("a");
  ASSERT_TRUE(memory.TryGrow(&first, 4 * kMiB));
  Waiting same;
  same.lease = CallMemory::Lease("a");
  EXPECT_FALSE(memory.TryGrow(&same.lease, 2 * kMiB)) << "over half";
  Wait(memory, 2 * kMiB, &same);
  CallMemory::Lease late("a");
  EXPECT_FALSE(memory.TryGrow(&late, kMiB / 2)) << "another of its share came before";
  CallMemory::Lease other("b");
  CallMemory::Lease none;
  EXPECT_TRUE(memory.TryGrow(&other, 3 * kMiB));
  EXPECT_TRUE(memory.TryGrow(&none, kMiB));
  EXPECT_TRUE(memory.TryGrow(&first, 6 * kMiB)) << "what has begun goes on";
  EXPECT_FALSE(same.done);
  first = CallMemory::Lease();
  EXPECT_TRUE(same.done);
  EXPECT_TRUE(memory.TryGrow(&late, kMiB));
  EXPECT_EQ(memory.used_bytes(), 7 * kMiB);
}

TEST_F(CallMemoryTest, OneOfAShareAloneHasAll) {
  CallMemory memory(10 * kMiB, absl::Hours(1), timers_);
  CallMemory::Lease alone("a");
  EXPECT_TRUE(memory.TryGrow(&alone, 10 * kMiB));
}

TEST_F(CallMemoryTest, WhatIsGivenBackBeforeAWaitServesOthers) {
  CallMemory memory(10 * kMiB, absl::Hours(1), timers_);
  CallMemory::Lease holder("a");
  ASSERT_TRUE(memory.TryGrow(&holder, 8 * kMiB));
  Waiting other;
  Wait(memory, 5 * kMiB, &other);
  memory.Shrink(&holder, kMiB);
  EXPECT_TRUE(other.done);
  EXPECT_EQ(memory.used_bytes(), 6 * kMiB);
  memory.Shrink(&holder, 2 * kMiB);
  EXPECT_EQ(memory.used_bytes(), 6 * kMiB) << "it never grows";
  memory.Shrink(&holder, CallMemory::kSmallBytes - 1);
  EXPECT_EQ(memory.used_bytes(), 5 * kMiB);
}

TEST_F(CallMemoryTest, WaitsEndInTime) {
  CallMemory memory(kMiB, absl::Milliseconds(20), timers_);
  CallMemory::Lease all;
  ASSERT_TRUE(memory.TryGrow(&all, kMiB));
  Waiting patient;
  Waiting hurried;
  Wait(memory, kMiB, &patient);
  Wait(memory, kMiB, &hurried, base::Deadline::After(absl::Milliseconds(1)));
  WaitUntil([&] { return patient.done && hurried.done; });
  EXPECT_THAT(patient.status, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("try again")));
  EXPECT_FALSE(base::LimitOf(patient.status).has_value());
  EXPECT_THAT(hurried.status, StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(CallMemoryTest, ACancelledWaitLetsTheNextPass) {
  CallMemory memory(10 * kMiB, absl::Hours(1), timers_);
  CallMemory::Lease rest;
  ASSERT_TRUE(memory.TryGrow(&rest, 5 * kMiB));
  Waiting large;
  Waiting small;
  Wait(memory, 10 * kMiB, &large);
  Wait(memory, kMiB, &small);
  EXPECT_FALSE(small.done);
  memory.Cancel(large.id);
  EXPECT_THAT(large.status, StatusIs(absl::StatusCode::kCancelled));
  EXPECT_TRUE(small.done);
  memory.Cancel(large.id);
}

}  // namespace
}  // namespace tessera::api
