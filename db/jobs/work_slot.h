// The right to do a collection's long work: one absorption or load at a time. Held for long, also
// while a client thinks; whoever must not wait for that tries.
//
// Threads: every call from any thread; given back by any.
#pragma once

#include "absl/base/thread_annotations.h"

#include "base/mutex.h"

namespace tessera::db {

class ABSL_LOCKABLE WorkSlot {
 public:
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    base::MutexLock lock(&mu_);
    while (taken_) free_.Wait(&mu_);
    taken_ = true;
  }
  bool TryLock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    base::MutexLock lock(&mu_);
    if (taken_) return false;
    taken_ = true;
    return true;
  }
  void Unlock() ABSL_UNLOCK_FUNCTION() {
    base::MutexLock lock(&mu_);
    taken_ = false;
    free_.Signal();
  }

 private:
  base::Mutex mu_;
  base::CondVar free_;
  bool taken_ ABSL_GUARDED_BY(mu_) = false;
};

class ABSL_SCOPED_LOCKABLE WorkLock {
 public:
  explicit WorkLock(WorkSlot* slot) ABSL_EXCLUSIVE_LOCK_FUNCTION(slot) : slot_(slot) {
    slot_->Lock();
  }
  ~WorkLock() ABSL_UNLOCK_FUNCTION() { slot_->Unlock(); }
  WorkLock(const WorkLock&) = delete;
  WorkLock& operator=(const WorkLock&) = delete;

 private:
  WorkSlot* const slot_;
};

}  // namespace tessera::db
