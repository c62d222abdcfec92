#include "db/jobs/build_memory.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/status_macros.h"

namespace tessera::db {
namespace {

// How soon a waiting job sees that it is cancelled, or that the budget has room.
constexpr auto kPoll = std::chrono::milliseconds(50);
constexpr uint64_t kSetAsideShare = 4;
// The least that a second long job goes on with, rather than wait for the first.
constexpr uint64_t kLongBytesMin = uint64_t{4} << 20;

}  // namespace

BuildMemory::Share::Share(Share&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)),
      bytes_(other.bytes_),
      reserved_(std::move(other.reserved_)) {}

BuildMemory::Share::~Share() {
  if (memory_ != nullptr) memory_->Release(*this);
}

absl::StatusOr<std::unique_ptr<BuildMemory>> BuildMemory::Create(base::MemoryBudget& budget,
                                                                 uint64_t bytes_max) {
  TESSERA_ASSIGN_OR_RETURN(
      base::MemoryReservation set_aside,
      budget.Reserve("index build", std::max(kShareBytesMin, bytes_max / kSetAsideShare)));
  return std::unique_ptr<BuildMemory>(new BuildMemory(budget, bytes_max, std::move(set_aside)));
}

absl::StatusOr<BuildMemory::Share> BuildMemory::Take(JobLength length,
                                                     const std::atomic<bool>& cancelled) {
  base::MutexLock lock(&mu_);
  while (true) {
    if (cancelled.load()) return absl::CancelledError("cancelled while waiting for memory");
    if (length == JobLength::kLong) {
      for (uint64_t bytes = long_bytes_max_ / 3 * 2; bytes >= kLongBytesMin; bytes /= 2) {
        if (long_bytes_ + bytes > long_bytes_max_) continue;
        absl::StatusOr<base::MemoryReservation> reserved = budget_.Reserve("index build", bytes);
        if (!reserved.ok()) continue;
        long_bytes_ += bytes;
        return Share(this, bytes, *std::move(reserved));
      }
    }
    // A long job takes what is set aside only where the limit leaves it nothing else.
    if ((length == JobLength::kShort || long_bytes_ == 0) && !set_aside_taken_) {
      set_aside_taken_ = true;
      return Share(this, set_aside_.bytes(), {});
    }
    released_.WaitUntil(&mu_, std::chrono::steady_clock::now() + kPoll);
  }
}

void BuildMemory::Release(const Share& share) {
  base::MutexLock lock(&mu_);
  if (share.reserved_.bytes() > 0) {
    long_bytes_ -= share.bytes_;
  } else {
    set_aside_taken_ = false;
  }
  released_.SignalAll();
}

}  // namespace tessera::db
