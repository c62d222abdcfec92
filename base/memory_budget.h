// One limit for the process's large memory, split among named components.
//
// Reservations are bookkeeping, not allocation: a component reserves before it allocates and
// releases after it frees. Over-reserving is an answer (kResourceExhausted), never an abort.
//
// Threads: all calls from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/mutex.h"

namespace tessera::base {

class MemoryBudget;

// A reserved amount; releases itself. Movable.
class MemoryReservation {
 public:
  MemoryReservation() = default;
  MemoryReservation(MemoryReservation&& other) noexcept;
  MemoryReservation& operator=(MemoryReservation&& other) noexcept;
  MemoryReservation(const MemoryReservation&) = delete;
  MemoryReservation& operator=(const MemoryReservation&) = delete;
  ~MemoryReservation();

  uint64_t bytes() const { return bytes_; }
  // Grows or shrinks to `bytes`; on error nothing changes.
  absl::Status Resize(uint64_t bytes);

 private:
  friend class MemoryBudget;
  MemoryBudget* budget_ = nullptr;
  std::string component_;
  uint64_t bytes_ = 0;
};

class MemoryBudget {
 public:
  // limit_bytes 0: no limit, only accounting.
  explicit MemoryBudget(uint64_t limit_bytes) : limit_bytes_(limit_bytes) {}

  uint64_t limit_bytes() const { return limit_bytes_; }
  uint64_t used_bytes() const { return used_bytes_.load(std::memory_order_relaxed); }
  uint64_t available_bytes() const;

  // Errors: kResourceExhausted naming component, request, use and limit.
  absl::StatusOr<MemoryReservation> Reserve(std::string_view component, uint64_t bytes);

  std::map<std::string, uint64_t> UsageByComponent() const;

 private:
  friend class MemoryReservation;
  absl::Status Add(const std::string& component, uint64_t bytes);
  void Subtract(const std::string& component, uint64_t bytes);

  const uint64_t limit_bytes_;
  std::atomic<uint64_t> used_bytes_{0};
  mutable Mutex mu_;
  std::map<std::string, uint64_t> by_component_ ABSL_GUARDED_BY(mu_);
};

// "768MiB", "2GB", "1048576". Errors: kInvalidArgument.
absl::StatusOr<uint64_t> ParseByteSize(std::string_view text);
std::string FormatByteSize(uint64_t bytes);

}  // namespace tessera::base
