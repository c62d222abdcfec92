// Frames leave a table that goes away, or go over to the table that follows it. Both begin at the
// table's slots and find a frame's record by its address. Going through all records of the cache
// instead was simpler, but then each publish of a few rows would hold the mutex, which every miss
// of every collection needs, for as long as the cache is large.
#include <algorithm>

#include "base/check.h"
#include "storage/frame_arena.h"

namespace tessera::storage {
namespace {

// Units looked at under the mutex before others get their turn.
constexpr uint32_t kUnitsPerLock = 256;

}  // namespace

FrameArena::FrameRef FrameArena::Find(const std::byte* frame) {
  const auto after = by_address_.upper_bound(frame);
  TESSERA_CHECK(after != by_address_.begin());
  Segment& segment = *std::prev(after)->second;
  const auto offset = static_cast<uint64_t>(frame - segment.data);
  // Frames are put one after the other, so the records ascend by offset.
  uint32_t begin = 0;
  uint32_t end = segment.frame_count;
  while (begin < end) {
    const uint32_t middle = begin + (end - begin) / 2;
    if (segment.record(middle).offset < offset) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  TESSERA_CHECK(begin < segment.frame_count && segment.record(begin).offset == offset);
  return {segment, segment.record(begin)};
}

void FrameArena::GiveUp(const FrameRef& frame) {
  DropFrame(frame.record, /*evicted=*/false);
  --frame.segment.live_count;
}

void FrameArena::RetireEmpty(Priority priority) {
  std::deque<SegmentPtr>& sealed = sealed_[static_cast<size_t>(priority)];
  for (SegmentPtr& segment : sealed) {
    if (segment->live_count == 0) Retire(std::move(segment));
  }
  std::erase(sealed, nullptr);
}

void FrameArena::Forget(FrameTable& table) {
  for (uint32_t unit = 0; unit < table.unit_count_;) {
    // A slot that is empty stays so: nobody publishes to this table any more.
    if (table.slots_[unit].load(std::memory_order_relaxed) == 0) {
      ++unit;
      continue;
    }
    base::MutexLock lock(&mu_);
    const uint32_t end = unit + std::min(kUnitsPerLock, table.unit_count_ - unit);
    for (; unit < end; ++unit) {
      const uintptr_t value = table.slots_[unit].load(std::memory_order_relaxed);
      if (value == 0) continue;  // evicted meanwhile
      const FrameRef frame = Find(FrameTable::ToPointer(value));
      TESSERA_CHECK(frame.record.table == &table && frame.record.unit == unit);
      GiveUp(frame);
    }
  }
  base::MutexLock lock(&mu_);
  TESSERA_CHECK(table.resident_frames_ == 0);
  RetireEmpty(table.priority_);
}

void FrameArena::AdoptOne(FrameTable& from, uint32_t from_unit, FrameTable& to, uint32_t to_unit) {
  std::atomic<uintptr_t>& old_slot = from.slots_[from_unit];
  std::atomic<uintptr_t>& new_slot = to.slots_[to_unit];
  const uintptr_t value = old_slot.load(std::memory_order_relaxed);
  if (value == 0) return;
  const FrameRef frame = Find(FrameTable::ToPointer(value));
  TESSERA_CHECK(frame.record.table == &from && frame.record.unit == from_unit);
  if (new_slot.load(std::memory_order_relaxed) != 0) {
    GiveUp(frame);  // somebody was first and has read it for the new table
    return;
  }
  // The frame stays where it is, so whoever found it through the old slot reads on. First into the
  // new slot, then out of the old one: a reader of either view misses it for a moment at worst.
  frame.record.table = &to;
  frame.record.unit = to_unit;
  new_slot.store(value, std::memory_order_release);
  old_slot.store(0, std::memory_order_release);
  --from.resident_frames_;
  ++to.resident_frames_;
}

void FrameArena::Adopt(const FrameMove& move) {
  TESSERA_CHECK(move.from->priority_ == move.to->priority_);
  TESSERA_CHECK(uint64_t{move.from_unit} + move.count <= move.from->unit_count_ &&
                uint64_t{move.to_unit} + move.count <= move.to->unit_count_);
  if (move.count == 0) return;
  // The ends tell whether both ranges are the same bytes.
  for (const uint32_t i : {0U, move.count - 1}) {
    TESSERA_CHECK(move.from->unit_range(move.from_unit + i) ==
                  move.to->unit_range(move.to_unit + i));
  }
  for (uint32_t i = 0; i < move.count;) {
    base::MutexLock lock(&mu_);
    const uint32_t end = i + std::min(kUnitsPerLock, move.count - i);
    for (; i < end; ++i) AdoptOne(*move.from, move.from_unit + i, *move.to, move.to_unit + i);
  }
}

}  // namespace tessera::storage
