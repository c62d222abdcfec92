#include "api/call_memory.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace tessera::api {

CallMemory::Lease::~Lease() {
  if (memory_ == nullptr) return;
  const std::lock_guard<std::mutex> lock(memory_->mu_);
  memory_->used_ -= bytes_;
  memory_->freed_.notify_all();
}

absl::StatusOr<CallMemory::Lease> CallMemory::Take(uint64_t bytes, absl::Time deadline) {
  Lease lease;
  if (bytes < kSmallBytes) return lease;
  std::unique_lock<std::mutex> lock(mu_);
  if (!Fits(bytes)) {
    const absl::Duration left = std::max(absl::ZeroDuration(), deadline - absl::Now());
    const std::chrono::milliseconds wait = std::min(absl::ToChronoMilliseconds(left), wait_max_);
    if (!freed_.wait_for(lock, wait, [&] { return Fits(bytes); })) {
      if (wait < wait_max_) {
        return absl::DeadlineExceededError("waiting for room among other calls");
      }
      return absl::ResourceExhaustedError(
          absl::StrCat("the calls under way hold ", used_, " bytes, this one takes ", bytes,
                       ", at most ", bytes_max_, " are allowed; try again"));
    }
  }
  used_ += bytes;
  lease.memory_ = this;
  lease.bytes_ = bytes;
  return lease;
}

uint64_t CallMemory::used_bytes() {
  const std::lock_guard<std::mutex> lock(mu_);
  return used_;
}

}  // namespace tessera::api
