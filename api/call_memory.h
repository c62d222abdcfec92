// A bound on what the requests and replies under way hold together.
//
// gRPC's own quota covers the bytes between socket and message; this covers the messages and what
// they are turned into.
//
// Threads: any.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tessera::api {

class CallMemory {
 public:
  // Calls below this are not counted: kServerThreadsMax of them are 16 MiB.
  static constexpr uint64_t kSmallBytes = uint64_t{64} << 10;

  // Bytes taken; gives them back. Movable.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept
        : memory_(std::exchange(other.memory_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    Lease& operator=(Lease&& other) noexcept {
      std::swap(memory_, other.memory_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease();

   private:
    friend class CallMemory;
    CallMemory* memory_ = nullptr;
    uint64_t bytes_ = 0;
  };

  CallMemory(uint64_t bytes_max, std::chrono::milliseconds wait_max)
      : bytes_max_(bytes_max), wait_max_(wait_max) {}

  // Waits until `bytes` more fit, not beyond the deadline. A call that is alone always fits:
  // the size of a request is limited elsewhere.
  //
  // Errors: kResourceExhausted after wait_max; kDeadlineExceeded.
  absl::StatusOr<Lease> Take(uint64_t bytes, absl::Time deadline);

  uint64_t used_bytes();

 private:
  bool Fits(uint64_t bytes) const { return used_ == 0 || used_ + bytes <= bytes_max_; }

  const uint64_t bytes_max_;
  const std::chrono::milliseconds wait_max_;
  std::mutex mu_;
  std::condition_variable freed_;
  uint64_t used_ = 0;  // guarded by mu_
};

}  // namespace tessera::api
