#include "storage/epoch.h"

#include <atomic>
#include <cstdint>
#include <limits>

namespace tessera::storage {

// The slots form a list that only grows; a slot of an ended thread is taken over by a new one.
struct alignas(64) EpochSlot {
  std::atomic<uint64_t> pinned{0};  // 0: not pinned
  uint32_t depth = 0;               // guards alive; the owning thread only
  std::atomic<bool> taken{true};
  EpochSlot* next = nullptr;  // fixed once the slot is in the list
};

namespace {

alignas(64) std::atomic<uint64_t> current_epoch{1};
alignas(64) std::atomic<EpochSlot*> all_slots{nullptr};

// Orders a thread's slot write before its later pointer reads, and an owner's unlinking before its
// slot reads: whichever of the two fences comes second sees what the other side did.
void FullFence() {
#if defined(__SANITIZE_THREAD__)
  // ThreadSanitizer has no fences; a sequentially consistent exchange is one on the machine.
  static std::atomic<uint64_t> fence{0};
  fence.exchange(1, std::memory_order_seq_cst);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

EpochSlot* TakeSlot() {
  for (EpochSlot* slot = all_slots.load(std::memory_order_acquire); slot != nullptr;
       slot = slot->next) {
    bool taken = false;
    if (!slot->taken.load(std::memory_order_relaxed) &&
        slot->taken.compare_exchange_strong(taken, true, std::memory_order_acquire)) {
      return slot;
    }
  }
  // Never freed: owners walk the list without a lock. Bounded by the most threads alive at once.
  auto* slot = new EpochSlot();
  slot->next = all_slots.load(std::memory_order_relaxed);
  while (!all_slots.compare_exchange_weak(slot->next, slot, std::memory_order_release,
                                          std::memory_order_relaxed)) {
  }
  return slot;
}

struct SlotOwner {
  EpochSlot* slot = TakeSlot();
  SlotOwner() = default;
  SlotOwner(const SlotOwner&) = delete;
  SlotOwner& operator=(const SlotOwner&) = delete;
  ~SlotOwner() { slot->taken.store(false, std::memory_order_release); }
};

EpochSlot* ThreadSlot() {
  thread_local SlotOwner owner;
  return owner.slot;
}

void Pin(EpochSlot* slot) {
  // Release: what this thread read under the epoch it had pinned before happens before the reuse.
  slot->pinned.store(current_epoch.load(std::memory_order_acquire), std::memory_order_release);
  FullFence();
}

}  // namespace

CacheGuard::CacheGuard() : slot_(ThreadSlot()) {
  if (slot_->depth++ == 0) {
    Pin(slot_);
  }
}

CacheGuard::~CacheGuard() {
  if (--slot_->depth == 0) {
    slot_->pinned.store(0, std::memory_order_release);
  }
}

void CacheGuard::Refresh() {
  if (slot_->depth == 1) {
    Pin(slot_);
  }
}

uint64_t CacheGuard::epoch() const {
  return slot_->pinned.load(std::memory_order_relaxed);  // written by this thread alone
}

uint64_t RetireEpoch() {
  return current_epoch.fetch_add(1, std::memory_order_seq_cst);
}

uint64_t OldestPinnedEpoch() {
  FullFence();
  uint64_t oldest = std::numeric_limits<uint64_t>::max();
  for (const EpochSlot* slot = all_slots.load(std::memory_order_acquire); slot != nullptr;
       slot = slot->next) {
    const uint64_t pinned = slot->pinned.load(std::memory_order_acquire);
    if (pinned != 0 && pinned < oldest) {
      oldest = pinned;
    }
  }
  return oldest;
}

}  // namespace tessera::storage
