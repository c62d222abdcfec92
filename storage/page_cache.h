// The cache of all extents that searches read: frames of bytes under one capacity, found through
// one atomic load.
//
// A FrameTable names the units (byte ranges) of one plane of one index version; each unit has a
// slot that holds its frame while it is in memory. A search holds a CacheGuard, asks Peek for each
// unit, and hands what is missing to PageCache::Fetch, which reads, verifies and publishes it.
//
//   CacheGuard guard;
//   for (uint32_t unit : probes) {
//     if (const std::byte* data = codes.Peek(unit)) { Scan(data); } else { missing.push_back(...);
//     }
//   }
//   cache.Fetch(guard, missing, [&](size_t i, const std::byte* data) { Scan(data); });
//
// Memory: see storage/frame_arena.h; within the capacity except for what living guards pin. When
// the
//         budget is nearly full, who began later waits for guards that began before, instead of
//         pinning more beside them.
//
// Threads: any, except that a FrameTable is destroyed when no other call uses it (its frames stay
//          valid for the guards that live).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/memory_budget.h"
#include "storage/epoch.h"
#include "storage/extent_store.h"
#include "storage/read_batch.h"

namespace tessera::storage {

class FrameArena;
class PageCache;
class ReadWindows;

// What is kept longer when the cache is full, best first.
enum class Priority : uint8_t { kCodes = 0, kFine = 1, kRaw = 2 };
inline constexpr size_t kPriorityCount = 3;

// `count` units of `bytes` each, at offset, offset + stride, ...
struct UnitRun {
  uint32_t file = 0;
  uint64_t offset = 0;
  uint32_t bytes = 0;
  uint32_t stride = 0;
  uint32_t count = 1;
};

class FrameTable {
 public:
  // Tells whether the bytes read for a unit are what was written (kDataLoss if not). Called from
  // any thread.
  using Verifier = std::function<absl::Status(uint32_t unit, std::span<const std::byte> bytes)>;

  // Units are numbered in the order of the runs. `cache` outlives the table, and the table can be
  // read as long as it lives, whatever the extent store removes meanwhile.
  //
  // Pre:    the files exist and none of them is being removed.
  // Memory: 8 bytes per unit and 32 per run.
  FrameTable(PageCache& cache, Priority priority, const std::vector<UnitRun>& runs,
             Verifier verifier);
  // One unit per range; ranges that follow each other evenly are kept as runs.
  FrameTable(PageCache& cache, Priority priority, const std::vector<ByteRange>& units,
             Verifier verifier);
  ~FrameTable();
  FrameTable(const FrameTable&) = delete;
  FrameTable& operator=(const FrameTable&) = delete;

  // The unit's bytes (64-byte aligned), or null when they are not in memory.
  //
  // Pre:  a CacheGuard lives on this thread; the pointer is valid as long as the guard.
  // Cost: one acquire load. A read-modify-write only the first time after the eviction clock has
  //       passed the frame.
  const std::byte* Peek(uint32_t unit) const {
    std::atomic<uintptr_t>& slot = slots_[unit];
    const uintptr_t value = slot.load(std::memory_order_acquire);
    if (__builtin_expect((value & kReferenced) == 0, 0)) {
      return PeekUnreferenced(slot, value);
    }
    return ToPointer(value);
  }

  // Brings the slot nearer, for a Peek soon.
  void Prefetch(uint32_t unit) const { __builtin_prefetch(&slots_[unit]); }

  uint32_t unit_count() const { return unit_count_; }
  uint32_t unit_bytes(uint32_t unit) const { return unit_range(unit).bytes; }
  ByteRange unit_range(uint32_t unit) const;  // cost: O(log runs)
  Priority priority() const { return priority_; }
  uint64_t memory_bytes() const;

 private:
  friend class FrameArena;
  friend class PageCache;

  // A slot is 0, or a frame's address with kReferenced in its lowest bit: the mark the eviction
  // clock clears. Only the arena changes addresses, under its mutex; readers only set the mark.
  static constexpr uintptr_t kReferenced = 1;

  struct Run {
    UnitRun units;
    uint32_t first_unit = 0;
  };

  static const std::byte* ToPointer(uintptr_t value) {
    return reinterpret_cast<const std::byte*>(value & ~kReferenced);
  }
  static const std::byte* PeekUnreferenced(std::atomic<uintptr_t>& slot, uintptr_t value) {
    if (value != 0) {
      // Lost to an eviction or another reader: then there is nothing to mark.
      uintptr_t expected = value;
      slot.compare_exchange_strong(expected, value | kReferenced, std::memory_order_relaxed);
    }
    return ToPointer(value);
  }

  PageCache& cache_;
  const Priority priority_;
  const Verifier verifier_;
  std::vector<Run> runs_;
  ExtentPin pin_;
  uint32_t unit_count_ = 0;
  uint64_t resident_frames_ = 0;  // guarded by the arena's mutex
  std::unique_ptr<std::atomic<uintptr_t>[]> slots_;
};

struct FetchRequest {
  FrameTable* table = nullptr;
  uint32_t unit = 0;
};

// `count` units of one table that are the same bytes as those of another.
struct FrameMove {
  FrameTable* from = nullptr;
  uint32_t from_unit = 0;
  FrameTable* to = nullptr;
  uint32_t to_unit = 0;
  uint32_t count = 0;
};

struct FetchStats {
  uint64_t reads = 0;
  uint64_t bytes_read = 0;  // from the engine, alignment and gaps included
};

struct PageCacheOptions {
  // Bytes of memory for frames, reserved at once; kCapacityMin .. SIZE_MAX / 2.
  uint64_t capacity_bytes = 0;
  // Bytes a Fetch has under way at most (one read is always allowed). Reserved while it runs.
  uint64_t fetch_window_bytes = uint64_t{4} << 20;
  // Set aside at once, on top of the capacity, so that a full budget fails no ordinary Fetch: for
  // what guards pin, and for reads that then go one after the other.
  uint64_t pin_reserve_bytes = 0;
  uint64_t read_reserve_bytes = 0;
  // Neighbouring units are read together up to this size ...
  uint32_t read_bytes_max = 128 << 10;
  // ... when no more than this lies between them.
  uint32_t read_gap_bytes_max = 4096;
};

struct PageCacheStats {
  uint64_t capacity_bytes = 0;
  uint64_t charged_bytes = 0;   // frames and what evicted ones still pin; may exceed the capacity
  uint64_t resident_bytes = 0;  // frames that can be found
  uint64_t resident_frames = 0;
  uint64_t evicted_frames = 0;  // since the start
  uint64_t fetched_units = 0;   // published since the start
};

class PageCache {
 public:
  static constexpr uint64_t kCapacityMin = uint64_t{64} << 10;

  // Errors: kInvalidArgument if an option is out of range; kResourceExhausted if the budget has not
  //         room for the capacity and what is set aside.
  static absl::StatusOr<std::unique_ptr<PageCache>> Create(ExtentStore& store, ReadEngine& engine,
                                                           base::MemoryBudget& budget,
                                                           const PageCacheOptions& options);
  // Pre: every FrameTable is destroyed and no guard is used with its frames any more.
  ~PageCache();
  PageCache(const PageCache&) = delete;
  PageCache& operator=(const PageCache&) = delete;

  // Gets the frames of all requests, reading those that are missing: all at once within the window,
  // neighbours together. `ready` is called on this thread once per request that succeeded, first
  // for what was in memory after all, then in the order the reads complete; the pointer is valid as
  // long as `guard`. Two threads that miss the same unit at once both read it; one frame is kept.
  //
  // What the requests need is pinned by `guard` as a whole, even when it exceeds the capacity: the
  // excess is charged to the budget until the guard is gone. Long scans Fetch in portions and
  // Refresh the guard between them.
  //
  // Errors: the first one met; requests not passed to `ready` have failed. kDataLoss: a verifier
  //         refused what was read, the file is missing or too short; nothing of it is published.
  //         kResourceExhausted: the budget has no room for the window's reads or for the excess,
  //         and neither has what is set aside, after seconds of waiting for other guards and reads.
  absl::Status Fetch(CacheGuard& guard, std::span<const FetchRequest> requests,
                     absl::FunctionRef<void(size_t request, const std::byte* data)> ready,
                     FetchStats* stats = nullptr);

  // Hands the frames of `move.from` over to `move.to`: they are found there from now on, and no
  // longer in the old table. Nothing is copied or read; pointers to them stay valid for the guards
  // that live, and searches of the old table read what they miss. Both tables may be in use.
  //
  // Pre:  both ranges of units are the same ranges of bytes; both tables have one priority.
  // Cost: O(units + frames moved * log segments), under the cache's mutex for a few at a time.
  void Adopt(const FrameMove& move);

  // Reclaims what guards have let go, then reports.
  PageCacheStats stats();

 private:
  friend class FrameTable;
  class Fetcher;

  PageCache(ExtentStore& store, ReadEngine& engine, const PageCacheOptions& options,
            std::unique_ptr<FrameArena> arena, std::unique_ptr<ReadWindows> windows);

  ExtentPin Pin(const std::vector<UnitRun>& runs);

  ExtentStore& store_;
  ReadEngine& engine_;
  const PageCacheOptions options_;
  const std::unique_ptr<FrameArena> arena_;
  const std::unique_ptr<ReadWindows> windows_;
};

}  // namespace tessera::storage
