#include "storage/frame_arena.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include <sys/mman.h>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/status_macros.h"
#include "storage/epoch.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace tessera::storage {
namespace {

constexpr std::string_view kComponent = "page_cache";
constexpr size_t kFrameAlignment = 64;
constexpr size_t kPageBytes = 4096;
constexpr size_t kHugePageBytes = 2 << 20;
constexpr size_t kSegmentBytesMin = 16 << 10;
constexpr size_t kSegmentBytesMax = 2 << 20;
constexpr size_t kSegmentsWanted = 64;
// Frames above this part of a segment get their own: it bounds what is lost at a segment's end.
constexpr size_t kOwnSegmentPart = 4;
constexpr size_t kHeadroomPart = 32;  // of the capacity
// Segments the clock hand passes per eviction: bounds the time under the mutex.
constexpr size_t kClockSteps = 8;
// Of what the budget has left, the part that guards may pin before anybody waits for them.
constexpr uint64_t kExcessPart = 4;
// A guard that pins longer is not waited for: its thread may wait for one of ours.
constexpr std::chrono::milliseconds kRoomWaitMax{1000};
constexpr std::chrono::microseconds kRoomPoll{200};  // guards end without telling

size_t RoundUp(size_t value, size_t to) {
  return (value + to - 1) / to * to;
}

size_t SegmentBytes(uint64_t capacity_bytes) {
  const auto wanted = static_cast<size_t>(capacity_bytes / kSegmentsWanted);
  return std::clamp(std::bit_floor(std::max<size_t>(wanted, 1)), kSegmentBytesMin,
                    kSegmentBytesMax);
}

// AddressSanitizer then reports whoever follows a pointer beyond its guard's life.
void Poison([[maybe_unused]] const std::byte* data, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_POISON_MEMORY_REGION(data, bytes);
#endif
}

void Unpoison([[maybe_unused]] const std::byte* data, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(data, bytes);
#endif
}

// Not from the heap: segments live long and would keep it from shrinking. Whole huge pages are
// asked for as such: searches jump about, and under a hypervisor each miss of a small page's
// address walks two page tables. Null when there is no memory.
std::byte* MapPages(size_t bytes) {
  const bool huge = bytes % kHugePageBytes == 0;
  const size_t slack = huge ? kHugePageBytes - kPageBytes : 0;
  void* const mapped =
      ::mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* data = static_cast<std::byte*>(mapped);
  if (huge) {
    const auto address = reinterpret_cast<uintptr_t>(data);
    const size_t before = RoundUp(address, kHugePageBytes) - address;
    if (before > 0) ::munmap(data, before);
    if (slack > before) ::munmap(data + before + bytes, slack - before);
    data += before;
    ::madvise(data, bytes, MADV_HUGEPAGE);  // a wish: small pages do as well
  }
  return data;
}

}  // namespace

FrameArena::Record& FrameArena::Segment::record(uint32_t i) const {
  return *(reinterpret_cast<Record*>(data + bytes) - 1 - i);
}

bool FrameArena::Segment::Fits(size_t frame_bytes) const {
  return used + RoundUp(frame_bytes, kFrameAlignment) + (frame_count + 1) * sizeof(Record) <= bytes;
}

absl::StatusOr<std::unique_ptr<FrameArena>> FrameArena::Create(base::MemoryBudget& budget,
                                                               uint64_t capacity_bytes,
                                                               uint64_t pin_reserve_bytes) {
  TESSERA_ASSIGN_OR_RETURN(base::MemoryReservation capacity,
                           budget.Reserve(kComponent, capacity_bytes));
  TESSERA_ASSIGN_OR_RETURN(base::MemoryReservation reserve,
                           budget.Reserve(kComponent, pin_reserve_bytes));
  TESSERA_ASSIGN_OR_RETURN(base::MemoryReservation excess, budget.Reserve(kComponent, 0));
  return std::unique_ptr<FrameArena>(new FrameArena(budget, capacity_bytes, std::move(capacity),
                                                    std::move(reserve), std::move(excess)));
}

FrameArena::FrameArena(base::MemoryBudget& budget, uint64_t capacity_bytes,
                       base::MemoryReservation capacity, base::MemoryReservation reserve,
                       base::MemoryReservation excess)
    : budget_(budget),
      capacity_bytes_(capacity_bytes),
      segment_bytes_(SegmentBytes(capacity_bytes)),
      headroom_bytes_(
          std::max(segment_bytes_, static_cast<size_t>(capacity_bytes / kHeadroomPart))),
      capacity_(std::move(capacity)),
      reserve_(std::move(reserve)),
      excess_(std::move(excess)) {}

FrameArena::~FrameArena() {
  base::MutexLock lock(&mu_);
  TESSERA_CHECK(resident_frames_ == 0);  // else a FrameTable outlives its cache
  for (size_t p = 0; p < kPriorityCount; ++p) {
    if (open_[p] != nullptr) {
      Unmap(std::move(open_[p]));
    }
    for (SegmentPtr& segment : sealed_[p]) {
      Unmap(std::move(segment));
    }
  }
  for (SegmentPtr& segment : limbo_) {
    Unmap(std::move(segment));
  }
  for (SegmentPtr& segment : free_) {
    Unmap(std::move(segment));
  }
}

bool FrameArena::Announce(uint64_t bytes, bool must) {
  base::MutexLock lock(&mu_);
  Reclaim();
  const uint64_t pinned_max =
      headroom_bytes_ + reserve_.bytes() + budget_.available_bytes() / kExcessPart;
  // The other half is for the oldest guard, which all others wait for.
  const uint64_t pinned = limbo_bytes_ + announced_bytes_;
  if (!must && pinned > 0 && pinned + bytes > pinned_max / 2) return false;
  announced_bytes_ += bytes;
  return true;
}

uint64_t FrameArena::BeginPublishing(uint64_t epoch, uint64_t bytes) {
  // An eviction gains at least half a segment: twice as much may be pinned.
  const uint64_t announced = 2 * RoundUp(bytes, segment_bytes_);
  const auto deadline = std::chrono::steady_clock::now() + kRoomWaitMax;
  bool must = false;
  while (!Announce(announced, must)) {
    must = OldestPinnedEpoch() >= epoch || std::chrono::steady_clock::now() >= deadline;
    if (!must) std::this_thread::sleep_for(kRoomPoll);
  }
  return announced;
}

void FrameArena::EndPublishing(uint64_t announced) {
  base::MutexLock lock(&mu_);
  TESSERA_CHECK(announced <= announced_bytes_);
  announced_bytes_ -= announced;
}

absl::StatusOr<const std::byte*> FrameArena::Publish(FrameTable& table, uint32_t unit,
                                                     std::span<const std::byte> bytes) {
  base::MutexLock lock(&mu_);
  std::atomic<uintptr_t>& slot = table.slots_[unit];
  if (const uintptr_t value = slot.load(std::memory_order_relaxed); value != 0) {
    return FrameTable::ToPointer(value);  // another thread was first
  }
  TESSERA_ASSIGN_OR_RETURN(Segment* const segment, SegmentFor(table.priority_, bytes.size()));
  const std::byte* data = Put(*segment, table, unit, bytes);
  slot.store(reinterpret_cast<uintptr_t>(data), std::memory_order_release);
  ++table.resident_frames_;
  ++resident_frames_;
  ++published_frames_;
  resident_bytes_ += bytes.size();
  return data;
}

const std::byte* FrameArena::Put(Segment& segment, FrameTable& table, uint32_t unit,
                                 std::span<const std::byte> bytes) {
  TESSERA_CHECK(segment.Fits(bytes.size()));
  std::byte* data = segment.data + segment.used;
  std::memcpy(data, bytes.data(), bytes.size());
  segment.record(segment.frame_count) = {.table = &table,
                                         .unit = unit,
                                         .bytes = static_cast<uint32_t>(bytes.size()),
                                         .offset = segment.used};
  segment.used += RoundUp(bytes.size(), kFrameAlignment);
  ++segment.frame_count;
  ++segment.live_count;
  return data;
}

absl::StatusOr<FrameArena::Segment*> FrameArena::SegmentFor(Priority priority, size_t bytes) {
  const auto p = static_cast<size_t>(priority);
  if (bytes > segment_bytes_ / kOwnSegmentPart) {
    const size_t own_bytes = RoundUp(RoundUp(bytes, kFrameAlignment) + sizeof(Record), kPageBytes);
    TESSERA_ASSIGN_OR_RETURN(SegmentPtr own, NewSegment(own_bytes));
    return sealed_[p].emplace_back(std::move(own)).get();
  }
  if (open_[p] != nullptr && open_[p]->Fits(bytes)) {
    return open_[p].get();
  }
  TESSERA_ASSIGN_OR_RETURN(SegmentPtr segment, NewSegment(segment_bytes_));
  // Evicting may have moved frames and so have begun another segment of this priority.
  if (open_[p] != nullptr) {
    sealed_[p].push_back(std::move(open_[p]));
  }
  open_[p] = std::move(segment);
  return open_[p].get();
}

// What is left of the capacity, counting evicted segments as left; negative when guards pin more.
int64_t FrameArena::AvailableBytes() const {
  return static_cast<int64_t>(capacity_bytes_ + limbo_bytes_ + free_.size() * segment_bytes_) -
         static_cast<int64_t>(charged_bytes_);
}

absl::StatusOr<FrameArena::SegmentPtr> FrameArena::NewSegment(size_t bytes) {
  Reclaim();
  while (AvailableBytes() < static_cast<int64_t>(bytes + headroom_bytes_) && EvictOne()) {
  }
  Reclaim();
  if (bytes == segment_bytes_) {
    if (SegmentPtr segment = TakeFree()) {
      return segment;
    }
  }
  while (charged_bytes_ + bytes > capacity_bytes_ && !free_.empty()) {
    Unmap(std::move(free_.back()));
    free_.pop_back();
  }
  if (const uint64_t excess = ExcessOf(charged_bytes_ + bytes); excess > 0) {
    TESSERA_RETURN_IF_ERROR(excess_.Resize(excess));
  }
  return Map(bytes);
}

uint64_t FrameArena::ExcessOf(uint64_t charged_bytes) const {
  const uint64_t set_aside = capacity_bytes_ + reserve_.bytes();
  return charged_bytes > set_aside ? charged_bytes - set_aside : 0;
}

// A segment that takes no eviction to get, or null.
FrameArena::SegmentPtr FrameArena::TakeFree() {
  if (!free_.empty()) {
    SegmentPtr segment = std::move(free_.back());
    free_.pop_back();
    Unpoison(segment->data, segment->bytes);
    return segment;
  }
  if (charged_bytes_ + segment_bytes_ <= capacity_bytes_) {
    absl::StatusOr<SegmentPtr> segment = Map(segment_bytes_);
    return segment.ok() ? *std::move(segment) : nullptr;
  }
  return nullptr;
}

FrameArena::Segment* FrameArena::SegmentForMoved(size_t priority, size_t bytes) {
  SegmentPtr& open = open_[priority];
  if (open != nullptr && open->Fits(bytes)) {
    return open.get();
  }
  SegmentPtr segment = TakeFree();
  if (segment == nullptr) {
    return nullptr;
  }
  if (open != nullptr) {
    sealed_[priority].push_back(std::move(open));
  }
  open = std::move(segment);
  return open.get();
}

bool FrameArena::EvictOne() {
  for (size_t p = kPriorityCount; p-- > 0;) {
    if (!sealed_[p].empty()) {
      Evict(p, TakeVictim(p));
      return true;
    }
  }
  for (size_t p = kPriorityCount; p-- > 0;) {  // a tiny cache: nothing is sealed
    if (open_[p] != nullptr) {
      Evict(p, std::move(open_[p]));
      return true;
    }
  }
  return false;
}

FrameArena::SegmentPtr FrameArena::TakeVictim(size_t priority) {
  std::deque<SegmentPtr>& queue = sealed_[priority];
  for (size_t step = std::min(kClockSteps, queue.size()); step > 0; --step) {
    if (!MostlyReferenced(*queue.front())) {
      break;
    }
    ClearMarks(*queue.front());
    queue.push_back(std::move(queue.front()));
    queue.pop_front();
  }
  SegmentPtr victim = std::move(queue.front());
  queue.pop_front();
  return victim;
}

bool FrameArena::MostlyReferenced(const Segment& segment) {
  uint64_t referenced = 0;
  for (uint32_t i = 0; i < segment.frame_count; ++i) {
    const Record& record = segment.record(i);
    if (record.table != nullptr &&
        (record.table->slots_[record.unit].load(std::memory_order_relaxed) &
         FrameTable::kReferenced) != 0) {
      referenced += record.bytes;
    }
  }
  return referenced > segment.used / 2;
}

void FrameArena::ClearMarks(const Segment& segment) {
  for (uint32_t i = 0; i < segment.frame_count; ++i) {
    const Record& record = segment.record(i);
    if (record.table != nullptr) {
      record.table->slots_[record.unit].fetch_and(~FrameTable::kReferenced,
                                                  std::memory_order_relaxed);
    }
  }
}

void FrameArena::Evict(size_t priority, SegmentPtr victim) {
  size_t moved_bytes = 0;
  for (uint32_t i = 0; i < victim->frame_count; ++i) {
    Record& record = victim->record(i);
    if (record.table == nullptr) {
      continue;
    }
    std::atomic<uintptr_t>& slot = record.table->slots_[record.unit];
    // At most half is moved: every eviction gains at least half a segment.
    if ((slot.load(std::memory_order_relaxed) & FrameTable::kReferenced) != 0 &&
        moved_bytes + record.bytes <= segment_bytes_ / 2) {
      if (Segment* const target = SegmentForMoved(priority, record.bytes)) {
        const std::byte* data =
            Put(*target, *record.table, record.unit, {victim->data + record.offset, record.bytes});
        slot.store(reinterpret_cast<uintptr_t>(data), std::memory_order_release);
        moved_bytes += record.bytes;
        continue;
      }
    }
    DropFrame(record, /*evicted=*/true);
  }
  Retire(std::move(victim));
}

void FrameArena::DropFrame(Record& record, bool evicted) {
  record.table->slots_[record.unit].store(0, std::memory_order_release);
  --record.table->resident_frames_;
  --resident_frames_;
  resident_bytes_ -= record.bytes;
  evicted_frames_ += evicted ? 1 : 0;
  record.table = nullptr;
}

// Pre: no slot leads to the segment.
void FrameArena::Retire(SegmentPtr segment) {
  segment->retired_at = RetireEpoch();
  limbo_bytes_ += segment->bytes;
  limbo_.push_back(std::move(segment));
}

void FrameArena::Reclaim() {
  if (limbo_.empty()) {
    return;
  }
  const uint64_t oldest = OldestPinnedEpoch();
  while (!limbo_.empty() && EpochPassed(limbo_.front()->retired_at, oldest)) {
    SegmentPtr segment = std::move(limbo_.front());
    limbo_.pop_front();
    limbo_bytes_ -= segment->bytes;
    if (segment->bytes != segment_bytes_ || charged_bytes_ > capacity_bytes_) {
      Unmap(std::move(segment));
      continue;
    }
    segment->used = 0;
    segment->frame_count = 0;
    segment->live_count = 0;
    Poison(segment->data, segment->bytes);
    free_.push_back(std::move(segment));
  }
}

PageCacheStats FrameArena::Stats() {
  base::MutexLock lock(&mu_);
  Reclaim();
  return {.capacity_bytes = capacity_bytes_,
          .charged_bytes = charged_bytes_,
          .resident_bytes = resident_bytes_,
          .resident_frames = resident_frames_,
          .evicted_frames = evicted_frames_,
          .fetched_units = published_frames_};
}

absl::StatusOr<FrameArena::SegmentPtr> FrameArena::Map(size_t bytes) {
  std::byte* const data = MapPages(bytes);
  if (data == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("page cache: no ", bytes, " bytes of memory: errno ", errno));
  }
  auto segment = std::make_unique<Segment>();
  segment->data = data;
  segment->bytes = bytes;
  charged_bytes_ += bytes;
  by_address_[data] = segment.get();
  return segment;
}

void FrameArena::Unmap(SegmentPtr segment) {
  by_address_.erase(segment->data);
  Unpoison(segment->data, segment->bytes);
  TESSERA_CHECK(::munmap(segment->data, segment->bytes) == 0);
  charged_bytes_ -= segment->bytes;
  if (excess_.bytes() > 0) {
    const uint64_t excess = ExcessOf(charged_bytes_);
    TESSERA_CHECK(excess <= excess_.bytes() && excess_.Resize(excess).ok());
  }
}

}  // namespace tessera::storage
