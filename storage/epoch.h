// Epoch-based reclamation: lets readers follow pointers into shared memory without locks or
// reference counts, and tells owners when memory they unlinked can be seen by nobody any more.
//
// A reader pins the current epoch in a slot of its own thread; an owner unlinks memory, takes a
// stamp, and may reuse the memory once no slot is pinned at or below that stamp.
//
// Threads: one process-wide domain; every call from any thread. A CacheGuard stays on its thread.
// Source:  Fraser, "Practical lock-freedom", 2004, section 5.2.3. Differs from it in: the owner
//          compares stamps with the oldest pin instead of keeping three generations of garbage.
#pragma once

#include <atomic>
#include <cstdint>

namespace tessera::storage {

struct EpochSlot;  // one per thread that ever pinned

// Pins what the thread sees: frames and other epoch-managed memory reached while a guard lives stay
// valid until it is destroyed or refreshed. Guards nest; the outermost one decides.
//
// Cost: about 10-20 ns, no shared write. A guard that lives long keeps evicted memory charged.
class CacheGuard {
 public:
  CacheGuard();
  ~CacheGuard();
  CacheGuard(const CacheGuard&) = delete;
  CacheGuard& operator=(const CacheGuard&) = delete;

  // Gives up every pointer obtained so far and pins anew, for long scans that would otherwise keep
  // all they read. Does nothing inside another guard of the same thread.
  void Refresh();

  // What is pinned, by the outermost guard of this thread: the lower, the longer ago.
  uint64_t epoch() const;

 private:
  EpochSlot* const slot_;
};

// The owners' side.

// Pre:     the memory is unlinked: no reader can find it from now on.
// Returns: the stamp to pass to EpochPassed.
uint64_t RetireEpoch();

// The oldest epoch any live guard pins; UINT64_MAX when none does. Cost: O(threads).
uint64_t OldestPinnedEpoch();

// Whether memory retired with `stamp` can be reused, given OldestPinnedEpoch().
inline bool EpochPassed(uint64_t stamp, uint64_t oldest_pinned) {
  return stamp < oldest_pinned;
}

}  // namespace tessera::storage
