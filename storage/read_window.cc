#include "storage/read_window.h"

#include <algorithm>
#include <string_view>
#include <thread>

#include "base/status_macros.h"

namespace tessera::storage {
namespace {

constexpr std::string_view kComponent = "page_cache_reads";
// The budget tells nobody when it has room again.
constexpr std::chrono::milliseconds kPoll{1};

}  // namespace

ReadWindow::~ReadWindow() {
  if (reserve_ != nullptr) reserve_->EndTurn();
}

absl::StatusOr<std::unique_ptr<ReadWindows>> ReadWindows::Create(
    base::MemoryBudget& budget, uint64_t reserve_bytes, std::chrono::milliseconds wait_max) {
  TESSERA_ASSIGN_OR_RETURN(base::MemoryReservation reserve,
                           budget.Reserve(kComponent, reserve_bytes));
  return std::unique_ptr<ReadWindows>(new ReadWindows(budget, std::move(reserve), wait_max));
}

bool ReadWindows::TakeTurn() {
  base::MutexLock lock(&mu_);
  return !std::exchange(taken_, true);
}

void ReadWindows::EndTurn() {
  base::MutexLock lock(&mu_);
  taken_ = false;
}

absl::StatusOr<ReadWindow> ReadWindows::Take(uint64_t wanted, uint64_t least) {
  ReadWindow window;
  const auto deadline = std::chrono::steady_clock::now() + wait_max_;
  while (true) {
    absl::StatusOr<base::MemoryReservation> memory = budget_.Reserve(kComponent, wanted);
    if (!memory.ok() && wanted > least) memory = budget_.Reserve(kComponent, least);
    if (memory.ok()) {
      window.bytes_ = memory->bytes();
      window.memory_ = *std::move(memory);
      return window;
    }
    const bool fits = least <= reserve_.bytes();
    if (fits && TakeTurn()) {
      window.bytes_ = std::min(wanted, reserve_.bytes());
      window.reserve_ = this;
      return window;
    }
    if (!fits || std::chrono::steady_clock::now() >= deadline) return memory.status();
    std::this_thread::sleep_for(kPoll);
  }
}

}  // namespace tessera::storage
