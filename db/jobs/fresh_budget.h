// The memory of fresh rows, one budget for all collections: a threshold of each alone would let
// many small ones lock each other out. When it is full, whoever has most absorbs first.
//
// Threads: every call from any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/memory_budget.h"
#include "base/mutex.h"

namespace tessera::db {

// Who has fresh rows and can put them into lists.
class FreshHolder {
 public:
  virtual ~FreshHolder() = default;
  // Absorbs what it has, in the calling thread. Errors: kCancelled and kNotFound when it closes or
  // is dropped; what a build may fail with.
  virtual absl::Status AbsorbFresh() = 0;
  // Has that done in the background.
  virtual void RequestMaintenance() = 0;
};

class FreshBudget {
 public:
  // A part of `bytes_max` is reserved at once, so that writes always find some room.
  static absl::StatusOr<std::unique_ptr<FreshBudget>> Create(base::MemoryBudget& budget,
                                                             uint64_t bytes_max);

  // What the holder has from now on; 0 forgets it.
  // Errors: kResourceExhausted if there is no room for more; nothing changes then.
  absl::Status Resize(uint64_t owner, const std::weak_ptr<FreshHolder>& holder, uint64_t bytes);
  void Forget(uint64_t owner);

  // Null if nobody has any.
  std::shared_ptr<FreshHolder> Largest() const;
  bool IsLargest(uint64_t owner) const;

  uint64_t bytes_max() const { return bytes_max_; }
  uint64_t used_bytes() const;

 private:
  struct Held {
    uint64_t bytes = 0;
    std::weak_ptr<FreshHolder> holder;
  };

  FreshBudget(uint64_t bytes_max, base::MemoryReservation reserved)
      : bytes_max_(bytes_max), floor_bytes_(reserved.bytes()), reserved_(std::move(reserved)) {}

  const uint64_t bytes_max_;
  const uint64_t floor_bytes_;
  mutable base::Mutex mu_;
  base::MemoryReservation reserved_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, Held> held_ ABSL_GUARDED_BY(mu_);
  uint64_t used_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace tessera::db
