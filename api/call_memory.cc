#include "api/call_memory.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "base/status_details.h"
#include "base/strings.h"

namespace tessera::api {

CallMemory::Lease::~Lease() {
  if (memory_ != nullptr) memory_->Release(bytes_);
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
  lease->memory_ = this;
  lease->bytes_ = bytes;
}

bool CallMemory::TryGrow(Lease* lease, uint64_t bytes) {
  if (bytes < kSmallBytes || bytes <= lease->bytes_) return true;
  base::MutexLock lock(&mu_);
  if (!Fits(*lease, bytes) || (lease->bytes_ == 0 && !waiters_.empty())) return false;
  Grow(lease, bytes);
  return true;
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

void CallMemory::Release(uint64_t bytes) {
  std::list<Waiter> served;
  {
    base::MutexLock lock(&mu_);
    used_ -= bytes;
    served = TakeServed();
  }
  Tell(std::move(served));
}

std::list<CallMemory::Waiter> CallMemory::TakeServed() {
  std::list<Waiter> served;
  while (!waiters_.empty() && Fits(*waiters_.front().lease, waiters_.front().bytes)) {
    Grow(waiters_.front().lease, waiters_.front().bytes);
    served.splice(served.end(), waiters_, waiters_.begin());
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
