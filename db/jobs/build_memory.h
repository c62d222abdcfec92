// The memory of index builds, in shares.
//
// A part is set aside when the directory is opened: whatever else fills the budget, rows can be
// absorbed, which is what frees memory again. Short jobs use that part, one after the other. Long
// jobs take from the rest of the budget what is free, so that one of them never keeps the short
// ones waiting, and leave room for a second one.
//
// Threads: every call from any thread. A Share must not outlive the BuildMemory.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"

#include "base/memory_budget.h"
#include "base/mutex.h"
#include "db/jobs/job_queue.h"

namespace tessera::db {

class BuildMemory {
 public:
  static constexpr uint64_t kShareBytesMin = uint64_t{8} << 20;

  class Share {
   public:
    Share(Share&& other) noexcept;
    Share& operator=(Share&&) = delete;
    ~Share();
    uint64_t bytes() const { return bytes_; }

   private:
    friend class BuildMemory;
    Share(BuildMemory* memory, uint64_t bytes, base::MemoryReservation reserved)
        : memory_(memory), bytes_(bytes), reserved_(std::move(reserved)) {}

    BuildMemory* memory_;
    uint64_t bytes_;
    base::MemoryReservation reserved_;  // of a long job
  };

  // `bytes_max`: of all builds together. Errors: kResourceExhausted.
  static absl::StatusOr<std::unique_ptr<BuildMemory>> Create(base::MemoryBudget& budget,
                                                             uint64_t bytes_max);

  // Waits until there is a share. Errors: kCancelled once `cancelled` is set.
  absl::StatusOr<Share> Take(JobLength length, const std::atomic<bool>& cancelled);

 private:
  BuildMemory(base::MemoryBudget& budget, uint64_t bytes_max, base::MemoryReservation set_aside)
      : budget_(budget),
        long_bytes_max_(bytes_max - std::min(bytes_max, set_aside.bytes())),
        set_aside_(std::move(set_aside)) {}

  void Release(const Share& share);

  base::MemoryBudget& budget_;
  const uint64_t long_bytes_max_;
  const base::MemoryReservation set_aside_;
  base::Mutex mu_;
  base::CondVar released_;
  bool set_aside_taken_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t long_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace tessera::db
