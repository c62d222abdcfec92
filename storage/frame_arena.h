// The memory of the page cache: frames of all sizes, packed into segments of one size.
//
// A frame is copied to the end of its priority's open segment; a full segment is sealed and queued.
// To make room, whole segments are taken from the queues, raw first, then fine, then codes: the
// clock hand passes a segment most of whose bytes were used since its last visit, and of the
// segment it stops at the used frames are copied on. So there is no fragmentation, whatever the
// sizes, and what the cache has mapped is what it is charged. A frame larger than a quarter of a
// segment gets a segment of its own size.
//
// Segment: | frame | pad to 64 | frame | ...   free   ... | record 1 | record 0 |
//
// An evicted segment stays charged until no guard can see its frames. Segments that can be found
// never exceed the capacity less a small headroom; only when guards pin so much that nothing can be
// reused does the arena map more: first what was set aside for that, then charged to the budget:
//   charged <= capacity + bytes evicted since the oldest living guard began + one segment
// One slow search pins what all others evict meanwhile, so the excess has no bound of its own. When
// the budget has little left, BeginPublishing holds back those who began later: the oldest guard
// never waits, so all of them end, and what each adds is what it reads itself.
//
// Threads: every call from any thread. Source: log-structured memory as in Rumble et al.,
//          "Log-structured memory for DRAM-based storage", FAST 2014, with FIFO-reinsertion (CLOCK)
//          as the cleaner's choice.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/memory_budget.h"
#include "base/mutex.h"
#include "storage/page_cache.h"

namespace tessera::storage {

class FrameArena {
 public:
  // Errors: kResourceExhausted if the budget has not room for the capacity and the reserve.
  static absl::StatusOr<std::unique_ptr<FrameArena>> Create(base::MemoryBudget& budget,
                                                            uint64_t capacity_bytes,
                                                            uint64_t pin_reserve_bytes);
  ~FrameArena();
  FrameArena(const FrameArena&) = delete;
  FrameArena& operator=(const FrameArena&) = delete;

  // Announces that about `bytes` will be published under a guard of that epoch, once what guards
  // pin leaves room for it, no older guard lives, or a second is over. Returns what to end with.
  uint64_t BeginPublishing(uint64_t epoch, uint64_t bytes);
  void EndPublishing(uint64_t announced);

  // Copies `bytes` into a frame and makes it the unit's, unless the unit has one by now. Returns
  // the unit's frame, valid for the guards that live.
  //
  // Pre:    a guard lives on this thread.
  // Errors: kResourceExhausted.
  absl::StatusOr<const std::byte*> Publish(FrameTable& table, uint32_t unit,
                                           std::span<const std::byte> bytes);

  // Makes all frames of the table unfindable. Pre: nobody else uses the table any more.
  // Cost: O(its units); the mutex is taken for a few frames at a time.
  void Forget(FrameTable& table);

  // As PageCache::Adopt.
  void Adopt(const FrameMove& move);

  PageCacheStats Stats();

 private:
  // One frame of a segment; at its end, counted from there.
  struct Record {
    FrameTable* table;  // null: given up
    uint32_t unit;
    uint32_t bytes;
    uint64_t offset;
  };

  struct Segment {
    std::byte* data = nullptr;
    size_t bytes = 0;
    size_t used = 0;
    uint32_t frame_count = 0;
    uint32_t live_count = 0;
    uint64_t retired_at = 0;

    Record& record(uint32_t i) const;
    bool Fits(size_t frame_bytes) const;
  };
  using SegmentPtr = std::unique_ptr<Segment>;

  FrameArena(base::MemoryBudget& budget, uint64_t capacity_bytes, base::MemoryReservation capacity,
             base::MemoryReservation reserve, base::MemoryReservation excess);

  absl::StatusOr<Segment*> SegmentFor(Priority priority, size_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<SegmentPtr> NewSegment(size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  SegmentPtr TakeFree() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Segment* SegmentForMoved(size_t priority, size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static const std::byte* Put(Segment& segment, FrameTable& table, uint32_t unit,
                              std::span<const std::byte> bytes);

  bool EvictOne() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  SegmentPtr TakeVictim(size_t priority) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static bool MostlyReferenced(const Segment& segment);
  static void ClearMarks(const Segment& segment);
  void Evict(size_t priority, SegmentPtr victim) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Retire(SegmentPtr segment) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Reclaim() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  absl::StatusOr<SegmentPtr> Map(size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Unmap(SegmentPtr segment) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void DropFrame(Record& record, bool evicted) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Where the frame that a slot leads to is recorded.
  struct FrameRef {
    Segment& segment;
    Record& record;
  };
  FrameRef Find(const std::byte* frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void GiveUp(const FrameRef& frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RetireEmpty(Priority priority) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AdoptOne(FrameTable& from, uint32_t from_unit, FrameTable& to, uint32_t to_unit)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int64_t AvailableBytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool Announce(uint64_t bytes, bool must) ABSL_LOCKS_EXCLUDED(mu_);
  // What is to be charged beyond capacity and reserve.
  uint64_t ExcessOf(uint64_t charged_bytes) const;

  const base::MemoryBudget& budget_;
  const uint64_t capacity_bytes_;
  const size_t segment_bytes_;
  const size_t headroom_bytes_;  // evicted ahead, so that it is reusable when it is needed
  const base::MemoryReservation capacity_;
  const base::MemoryReservation reserve_;  // for what guards pin

  base::Mutex mu_;
  base::MemoryReservation excess_ ABSL_GUARDED_BY(mu_);
  std::array<SegmentPtr, kPriorityCount> open_ ABSL_GUARDED_BY(mu_);
  std::array<std::deque<SegmentPtr>, kPriorityCount> sealed_ ABSL_GUARDED_BY(mu_);
  std::deque<SegmentPtr> limbo_ ABSL_GUARDED_BY(mu_);  // evicted, by retired_at ascending
  std::vector<SegmentPtr> free_ ABSL_GUARDED_BY(mu_);
  std::map<const std::byte*, Segment*> by_address_ ABSL_GUARDED_BY(mu_);  // all there are
  uint64_t charged_bytes_ ABSL_GUARDED_BY(mu_) = 0;                       // of all segments
  uint64_t limbo_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t announced_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t resident_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t resident_frames_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t evicted_frames_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t published_frames_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace tessera::storage
