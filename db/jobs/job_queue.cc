#include "db/jobs/job_queue.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace tessera::db {
namespace {

// Owners remembered for their share; beyond, those with nothing to do begin anew.
constexpr size_t kOwnersMax = 4096;

bool IsFailure(const absl::Status& status) {
  return !status.ok() && !absl::IsCancelled(status) && !absl::IsNotFound(status);
}

}  // namespace

void JobQueue::Submit(Job job, Time due) {
  Owner& owner = owners_[job.owner];
  const auto it = waiting_.find(job.owner);
  if (it == waiting_.end()) {
    const uint64_t key = job.owner;
    waiting_.emplace(key, Waiting{.job = std::move(job),
                                  .due = due,
                                  .not_before = owner.not_before,
                                  .order = next_order_++});
    return;
  }
  Waiting& waiting = it->second;
  waiting.due = std::min(waiting.due, due);
  if (job.urgency >= waiting.job.urgency) waiting.job = std::move(job);
}

bool JobQueue::Runnable(const Waiting& waiting, bool long_too) const {
  return (long_too || waiting.job.length == JobLength::kShort) &&
         !owners_.at(waiting.job.owner).running;
}

std::optional<Job> JobQueue::Next(Time now, bool long_too) {
  auto best = waiting_.end();
  for (auto it = waiting_.begin(); it != waiting_.end(); ++it) {
    const Waiting& a = it->second;
    if (!Runnable(a, long_too) || std::max(a.due, a.not_before) > now) continue;
    if (best != waiting_.end()) {
      const Waiting& b = best->second;
      if (a.job.urgency != b.job.urgency) {
        if (a.job.urgency < b.job.urgency) continue;
      } else {
        const Duration served_a = owners_.at(it->first).served;
        const Duration served_b = owners_.at(best->first).served;
        if (std::pair(served_a, a.order) > std::pair(served_b, b.order)) continue;
      }
    }
    best = it;
  }
  if (best == waiting_.end()) return std::nullopt;
  Job job = std::move(best->second.job);
  waiting_.erase(best);
  owners_.at(job.owner).running = true;
  ++owners_running_;
  return job;
}

bool JobQueue::Done(const Job& job, const absl::Status& status, Time now, Duration took) {
  Owner& owner = owners_.at(job.owner);
  TESSERA_CHECK(owner.running && owners_running_ > 0);
  owner.running = false;
  --owners_running_;
  owner.served += took;
  if (!IsFailure(status)) {
    owner.failures = 0;
    owner.not_before = {};
    if (owners_.size() > kOwnersMax) Forget(job.owner);
    return false;
  }
  const Duration wait = kRetryFirst * (1 << std::min(owner.failures, 6));
  ++owner.failures;
  owner.not_before = now + std::min(wait, kRetryMax);
  if (const auto it = waiting_.find(job.owner); it != waiting_.end()) {
    it->second.not_before = owner.not_before;
  } else {
    Submit(job, now);
  }
  return true;
}

void JobQueue::Forget(uint64_t owner) {
  if (!waiting_.contains(owner)) owners_.erase(owner);
}

std::optional<JobQueue::Time> JobQueue::NextDue(bool long_too) const {
  std::optional<Time> next;
  for (const auto& [owner, waiting] : waiting_) {
    if (!Runnable(waiting, long_too)) continue;
    const Time due = std::max(waiting.due, waiting.not_before);
    if (!next.has_value() || due < *next) next = due;
  }
  return next;
}

void JobQueue::Clear() {
  waiting_.clear();
}

}  // namespace tessera::db
