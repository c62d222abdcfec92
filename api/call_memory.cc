#include "api/call_memory.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"

#include "base/status_details.h"
#include "base/strings.h"

namespace tessera::api {

CallMemory::Lease::~Lease() {
  if (memory_ != nullptr) memory_->Release(*this);
}

absl::Status CallMemory::CheckSize(std::string_view what, uint64_t bytes) const {
  if (bytes <= bytes_max_) return absl::OkStatus();
  return base::OverLimit(
      absl::ResourceExhaustedError(absl::StrCat(base::Sv(what), " takes ", bytes,
                                                " bytes of memory, at most ", bytes_max_,
                                                " are set aside for calls; ask for less at a time, "
                                                "or raise the server's memory limit")),
      bytes, bytes_max_);
}

void CallMemory::Grow(Lease* lease, uint64_t bytes) {
  used_ += bytes - lease->bytes_;
  if (!lease->share_.empty()) shares_[lease->share_] += bytes - lease->bytes_;
  lease->memory_ = this;
  lease->bytes_ = bytes;
}

bool CallMemory::FitsShare(const Lease& lease, uint64_t bytes) const {
  const auto share = shares_.find(lease.share_);
  // Who has begun goes on: the others may wait for its end.
  if (share == shares_.end() || lease.bytes_ > 0) return true;
  return share->second + bytes <= bytes_max_ / 2;
}

bool CallMemory::WaitsBefore(const Lease& lease) const {
  if (lease.bytes_ > 0) return false;
  for (const Waiter& waiter : waiters_) {
    const bool same = !lease.share_.empty() && waiter.lease->share_ == lease.share_;
    if (same || FitsShare(*waiter.lease, waiter.bytes)) return true;
  }
  return false;
}

bool CallMemory::TryGrow(Lease* lease, uint64_t bytes) {
  if (bytes < kSmallBytes || bytes <= lease->bytes_) return true;
  base::MutexLock lock(&mu_);
  if (!Fits(*lease, bytes) || !FitsShare(*lease, bytes) || WaitsBefore(*lease)) return false;
  Grow(lease, bytes);
  return true;
}

void CallMemory::Shrink(Lease* lease, uint64_t bytes) {
  const uint64_t kept = bytes < kSmallBytes ? 0 : bytes;
  if (kept >= lease->bytes_) return;
  Lease rest(lease->share_);
  rest.memory_ = this;
  rest.bytes_ = lease->bytes_ - kept;
  lease->bytes_ = kept;
}

void CallMemory::Wait(uint64_t id, Lease* lease, uint64_t bytes, base::Deadline deadline, Done done) {
  std::list<Waiter> served;
  {
    base::MutexLock lock(&mu_);
    const bool deadline_first = deadline < base::Deadline::After(wait_max_);
    Waiter waiter{.id = id, .lease = lease, .bytes = bytes, .timer = 0, .done = std::move(done)};
    waiter.timer =
        timers_.At(std::min(deadline, base::Deadline::After(wait_max_)), [this, id, deadline_first] {
          End(id, [&](const Waiter& late) -> absl::Status {
            if (deadline_first) {
              return absl::DeadlineExceededError("waiting for room among other calls");
            }
            return absl::ResourceExhaustedError(
                absl::StrCat("the calls under way leave no room for ", late.bytes, " bytes of ",
                             bytes_max_, "; try again"));
          });
        });
    waiters_.insert(lease->bytes_ > 0 ? waiters_.begin() : waiters_.end(), std::move(waiter));
    served = TakeServed();
  }
  Tell(std::move(served));
}

void CallMemory::Cancel(uint64_t waiter) {
  End(waiter, [](const Waiter&) { return absl::CancelledError("the call was cancelled"); });
}

void CallMemory::End(uint64_t waiter, const std::function<absl::Status(const Waiter&)>& why) {
  std::list<Waiter> ended;
  std::list<Waiter> served;
  {
    base::MutexLock lock(&mu_);
    const auto found = std::find_if(waiters_.begin(), waiters_.end(),
                                    [&](const Waiter& one) { return one.id == waiter; });
    if (found == waiters_.end()) return;
    ended.splice(ended.end(), waiters_, found);
    served = TakeServed();
  }
  timers_.Cancel(ended.front().timer);
  ended.front().done(why(ended.front()));
  Tell(std::move(served));
}

void CallMemory::Release(const Lease& lease) {
  std::list<Waiter> served;
  {
    base::MutexLock lock(&mu_);
    used_ -= lease.bytes_;
    if (const auto share = shares_.find(lease.share_); share != shares_.end()) {
      share->second -= lease.bytes_;
      if (share->second == 0) shares_.erase(share);
    }
    served = TakeServed();
  }
  Tell(std::move(served));
}

std::list<CallMemory::Waiter> CallMemory::TakeServed() {
  std::list<Waiter> served;
  std::set<std::string_view> full;  // shares of those passed by
  for (auto next = waiters_.begin(); next != waiters_.end();) {
    const auto waiter = next++;
    Lease& lease = *waiter->lease;
    if (full.contains(lease.share_) || !FitsShare(lease, waiter->bytes)) {
      full.insert(lease.share_);
      continue;
    }
    if (!Fits(lease, waiter->bytes)) break;
    Grow(&lease, waiter->bytes);
    served.splice(served.end(), waiters_, waiter);
  }
  return served;
}

void CallMemory::Tell(std::list<Waiter> served) {
  for (const Waiter& waiter : served) {
    timers_.Cancel(waiter.timer);
    waiter.done(absl::OkStatus());
  }
}

uint64_t CallMemory::used_bytes() {
  base::MutexLock lock(&mu_);
  return used_;
}

}  // namespace tessera::api
