// Memory for reads under way: what the budget has, or turns at a small reserve when it has nothing,
// so that a full budget makes reads slow instead of failing them.
//
// Threads: ReadWindows: any. A ReadWindow: one at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"

#include "base/memory_budget.h"
#include "base/mutex.h"

namespace tessera::storage {

class ReadWindows;

// Bytes that reads may have under way; gives them back. Movable.
class ReadWindow {
 public:
  ReadWindow() = default;
  ReadWindow(ReadWindow&& other) noexcept
      : bytes_(std::exchange(other.bytes_, 0)),
        memory_(std::move(other.memory_)),
        reserve_(std::exchange(other.reserve_, nullptr)) {}
  ReadWindow& operator=(ReadWindow&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(memory_, other.memory_);
    std::swap(reserve_, other.reserve_);
    return *this;
  }
  ReadWindow(const ReadWindow&) = delete;
  ReadWindow& operator=(const ReadWindow&) = delete;
  ~ReadWindow();

  uint64_t bytes() const { return bytes_; }

 private:
  friend class ReadWindows;
  uint64_t bytes_ = 0;
  base::MemoryReservation memory_;
  ReadWindows* reserve_ = nullptr;  // whose turn it has
};

class ReadWindows {
 public:
  // Sets `reserve_bytes` aside at once; with 0 there are no turns. Waits for one at most
  // `wait_max`. Errors: kResourceExhausted.
  static absl::StatusOr<std::unique_ptr<ReadWindows>> Create(base::MemoryBudget& budget,
                                                             uint64_t reserve_bytes,
                                                             std::chrono::milliseconds wait_max);

  // `wanted` bytes when the budget has them, else at least `least`; waits for that if it must.
  //
  // Pre:    least <= wanted.
  // Errors: kResourceExhausted: the budget has not `least`, and that is above the reserve or no
  // turn
  //         came.
  absl::StatusOr<ReadWindow> Take(uint64_t wanted, uint64_t least);

 private:
  friend class ReadWindow;
  ReadWindows(base::MemoryBudget& budget, base::MemoryReservation reserve,
              std::chrono::milliseconds wait_max)
      : budget_(budget), reserve_(std::move(reserve)), wait_max_(wait_max) {}

  bool TakeTurn();
  void EndTurn();

  base::MemoryBudget& budget_;
  const base::MemoryReservation reserve_;
  const std::chrono::milliseconds wait_max_;
  base::Mutex mu_;
  bool taken_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace tessera::storage
