// Locks of point ids: two writes that share an id follow each other, others go on side by side. A
// write holds the locks of its ids from its look-ups to its end, so that what it found stays true.
//
// Ids share kStripes mutexes, taken in ascending order, so that writes cannot wait for each other
// in a circle.
//
// Threads: every call from any thread; a Hold belongs to the thread that made it.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "absl/base/thread_annotations.h"
#include "absl/hash/hash.h"

#include "base/mutex.h"
#include "base/point_id.h"

namespace tessera::db {

class IdLocks {
 public:
  static constexpr size_t kStripes = 64;

  class Hold {
   public:
    // The thread-safety analysis cannot follow a set of locks.
    Hold(IdLocks& locks, std::span<const base::PointId> ids) ABSL_NO_THREAD_SAFETY_ANALYSIS
        : locks_(locks) {
      for (const base::PointId& id : ids) {
        held_ |= uint64_t{1} << (absl::Hash<base::PointId>()(id) % kStripes);
      }
      for (size_t i = 0; i < kStripes; ++i) {
        if ((held_ >> i & 1) != 0) locks_.stripes_[i].Lock();
      }
    }
    ~Hold() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      for (size_t i = 0; i < kStripes; ++i) {
        if ((held_ >> i & 1) != 0) locks_.stripes_[i].Unlock();
      }
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    IdLocks& locks_;
    uint64_t held_ = 0;
  };

 private:
  std::array<base::Mutex, kStripes> stripes_;
};

}  // namespace tessera::db
