#include "db/jobs/job_queue.h"

#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace tessera::db {
namespace {

using std::chrono::seconds;

const JobQueue::Time kStart = JobQueue::Time() + seconds(1000);

Job MakeJob(uint64_t owner, int urgency, JobLength length = JobLength::kShort) {
  return {.owner = owner,
          .length = length,
          .urgency = urgency,
          .what = "job of " + std::to_string(owner),
          .run = [] { return absl::OkStatus(); }};
}

// The owner of the next job, 0 if none is due; the job runs then.
uint64_t NextOwner(JobQueue& queue, JobQueue::Time now, bool long_too = true) {
  const std::optional<Job> job = queue.Next(now, long_too);
  return job.has_value() ? job->owner : 0;
}

void Done(JobQueue& queue, uint64_t owner, JobQueue::Time now = kStart,
          JobQueue::Duration took = {}, const absl::Status& status = absl::OkStatus()) {
  queue.Done(MakeJob(owner, 1), status, now, took);
}

TEST(JobQueue, TheMostUrgentGoesFirstThenTheFirstCome) {
  JobQueue queue;
  queue.Submit(MakeJob(1, 1), kStart);
  queue.Submit(MakeJob(2, 3), kStart);
  queue.Submit(MakeJob(3, 1), kStart);
  EXPECT_EQ(NextOwner(queue, kStart), 2U);
  EXPECT_EQ(NextOwner(queue, kStart), 1U);
  EXPECT_EQ(NextOwner(queue, kStart), 3U);
  EXPECT_EQ(NextOwner(queue, kStart), 0U);
  EXPECT_FALSE(queue.Idle());
  for (const uint64_t owner : {1, 2, 3}) Done(queue, owner);
  EXPECT_TRUE(queue.Idle());
}

TEST(JobQueue, ALongJobIsNotForTheShortThread) {
  JobQueue queue;
  queue.Submit(MakeJob(1, 3, JobLength::kLong), kStart);
  queue.Submit(MakeJob(2, 1), kStart);
  EXPECT_EQ(NextOwner(queue, kStart, /*long_too=*/false), 2U);
  EXPECT_EQ(NextOwner(queue, kStart, /*long_too=*/false), 0U);
  EXPECT_FALSE(queue.NextDue(/*long_too=*/false).has_value());
  EXPECT_EQ(NextOwner(queue, kStart, /*long_too=*/true), 1U);
}

TEST(JobQueue, AnOwnerHasOneJobAtATime) {
  JobQueue queue;
  queue.Submit(MakeJob(1, 1), kStart);
  queue.Submit(MakeJob(1, 2), kStart);
  const std::optional<Job> job = queue.Next(kStart, true);
  ASSERT_TRUE(job.has_value());
  EXPECT_EQ(job->urgency, 2);
  // What comes while it runs waits for its end.
  queue.Submit(MakeJob(1, 1), kStart);
  EXPECT_EQ(NextOwner(queue, kStart), 0U);
  Done(queue, 1);
  EXPECT_EQ(NextOwner(queue, kStart), 1U);
}

TEST(JobQueue, WhoWasServedLeastGoesFirst) {
  JobQueue queue;
  std::vector<uint64_t> served;
  for (int round = 0; round < 6; ++round) {
    for (const uint64_t owner : {1, 2}) queue.Submit(MakeJob(owner, 1), kStart);
    const uint64_t owner = NextOwner(queue, kStart);
    served.push_back(owner);
    // Jobs of the first take thrice as long.
    Done(queue, owner, kStart, seconds(owner == 1 ? 3 : 1));
  }
  EXPECT_EQ(served, (std::vector<uint64_t>{1, 2, 2, 2, 1, 2}));
}

TEST(JobQueue, AFailureWaitsLongerFromTimeToTime) {
  JobQueue queue;
  queue.Submit(MakeJob(1, 1), kStart);
  JobQueue::Time now = kStart;
  for (const int wait : {1, 2, 4, 8, 16, 32, 60, 60}) {
    ASSERT_EQ(NextOwner(queue, now), 1U);
    EXPECT_TRUE(queue.Done(MakeJob(1, 1), absl::InternalError("disk"), now, {}));
    // Nor does a new request make it any sooner.
    queue.Submit(MakeJob(1, 3), now);
    EXPECT_EQ(NextOwner(queue, now + seconds(wait) - std::chrono::milliseconds(1)), 0U);
    EXPECT_EQ(queue.NextDue(true), now + seconds(wait));
    now += seconds(wait);
  }
  ASSERT_EQ(NextOwner(queue, now), 1U);
  EXPECT_FALSE(queue.Done(MakeJob(1, 1), absl::OkStatus(), now, {}));
  queue.Submit(MakeJob(1, 1), now);
  EXPECT_EQ(NextOwner(queue, now), 1U);
}

TEST(JobQueue, NothingToDoIsNoFailure) {
  JobQueue queue;
  for (const absl::Status& status : {absl::CancelledError(""), absl::NotFoundError("")}) {
    queue.Submit(MakeJob(1, 1), kStart);
    ASSERT_EQ(NextOwner(queue, kStart), 1U);
    EXPECT_FALSE(queue.Done(MakeJob(1, 1), status, kStart, {}));
    EXPECT_TRUE(queue.Idle());
  }
}

TEST(JobQueue, AJobWaitsForItsTime) {
  JobQueue queue;
  queue.Submit(MakeJob(1, 1), kStart + seconds(10));
  EXPECT_EQ(NextOwner(queue, kStart), 0U);
  EXPECT_EQ(queue.NextDue(true), kStart + seconds(10));
  queue.Submit(MakeJob(1, 1), kStart + seconds(5));
  EXPECT_EQ(NextOwner(queue, kStart + seconds(5)), 1U);
}

}  // namespace
}  // namespace tessera::db
