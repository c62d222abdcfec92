// A bound on what the requests and replies under way hold together.
//
// gRPC's own quota covers the bytes between socket and message; this covers the messages and what
// they are turned into. Nobody blocks: who finds no room is called back when there is some.
//
// Threads: any.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "api/rpc/timers.h"
#include "base/deadline.h"
#include "base/mutex.h"

namespace tessera::api {

class CallMemory {
 public:
  // Calls below this are not counted; they are as many as there are threads to run them.
  static constexpr uint64_t kSmallBytes = uint64_t{64} << 10;

  // Bytes taken; gives them back. Movable. Outlived by its CallMemory.
  class Lease {
   public:
    Lease() = default;
    // Leases of one `share` (not "") begin within half of all memory together, or one of them alone
    // with all of it: calls that wait for a collection must not keep those of others from memory.
    explicit Lease(std::string share) : share_(std::move(share)) {}
    Lease(Lease&& other) noexcept
        : memory_(std::exchange(other.memory_, nullptr)),
          bytes_(std::exchange(other.bytes_, 0)),
          share_(std::move(other.share_)) {}
    Lease& operator=(Lease&& other) noexcept {
      std::swap(memory_, other.memory_);
      std::swap(bytes_, other.bytes_);
      std::swap(share_, other.share_);
      return *this;
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease();
    uint64_t bytes() const { return bytes_; }

   private:
    friend class CallMemory;
    CallMemory* memory_ = nullptr;
    uint64_t bytes_ = 0;
    std::string share_;
  };

  // Who waits longer than `wait_max` is refused. `timers` outlive it.
  CallMemory(uint64_t bytes_max, absl::Duration wait_max, Timers& timers)
      : bytes_max_(bytes_max), wait_max_(wait_max), timers_(timers) {}

  // Whether `bytes` can ever be had. Errors: kResourceExhausted with the limit, for good.
  absl::Status CheckSize(std::string_view what, uint64_t bytes) const;

  // Grows `lease` to `bytes` in all, if they are free and nobody waits who came before.
  // Who holds something already goes first: the others may be waiting for just that.
  bool TryGrow(Lease* lease, uint64_t bytes) ABSL_LOCKS_EXCLUDED(mu_);

  // Gives back what is beyond `bytes`. Before a wait: who waits while holding much may be what the
  // others wait for.
  void Shrink(Lease* lease, uint64_t bytes) ABSL_LOCKS_EXCLUDED(mu_);

  // Grows it as soon as that is possible, then calls `done` once, with OK, kResourceExhausted after
  // wait_max, kDeadlineExceeded or, after Cancel, kCancelled; perhaps at once, perhaps on another
  // thread. `lease` stays where it is until then. `waiter` is a NewWaiter().
  // Pre: CheckSize(bytes) is OK.
  using Done = std::function<void(const absl::Status&)>;
  void Wait(uint64_t waiter, Lease* lease, uint64_t bytes, base::Deadline deadline, Done done)
      ABSL_LOCKS_EXCLUDED(mu_);
  uint64_t NewWaiter() { return last_waiter_.fetch_add(1) + 1; }
  // Ends a wait that has not ended.
  void Cancel(uint64_t waiter) ABSL_LOCKS_EXCLUDED(mu_);

  uint64_t bytes_max() const { return bytes_max_; }
  uint64_t used_bytes() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Waiter {
    uint64_t id = 0;
    Lease* lease = nullptr;
    uint64_t bytes = 0;
    uint64_t timer = 0;
    Done done;
  };

  bool Fits(const Lease& lease, uint64_t bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return used_ - lease.bytes_ + bytes <= bytes_max_;
  }
  bool FitsShare(const Lease& lease, uint64_t bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether somebody waits whose turn is before that of a lease that begins now.
  bool WaitsBefore(const Lease& lease) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Grow(Lease* lease, uint64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Release(const Lease& lease) ABSL_LOCKS_EXCLUDED(mu_);
  // Ends the wait with the status that `why` gives, unless it has ended.
  void End(uint64_t waiter, const std::function<absl::Status(const Waiter&)>& why)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Serves those who fit, in their order, as far as nobody who only waits for memory is passed by;
  // their `done` is to be called without the lock.
  std::list<Waiter> TakeServed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Tell(std::list<Waiter> served) ABSL_LOCKS_EXCLUDED(mu_);

  const uint64_t bytes_max_;
  const absl::Duration wait_max_;
  Timers& timers_;
  base::Mutex mu_;
  uint64_t used_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::string, uint64_t, std::less<>> shares_ ABSL_GUARDED_BY(mu_);  // of used_; none is 0
  std::atomic<uint64_t> last_waiter_{0};
  std::list<Waiter> waiters_ ABSL_GUARDED_BY(mu_);
};

}  // namespace tessera::api
