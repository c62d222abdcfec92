#include "db/jobs/fresh_budget.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace tessera::db {
namespace {

constexpr uint64_t kFloorShare = 4;

}  // namespace

absl::StatusOr<std::unique_ptr<FreshBudget>> FreshBudget::Create(base::MemoryBudget& budget,
                                                                 uint64_t bytes_max) {
  TESSERA_ASSIGN_OR_RETURN(base::MemoryReservation reserved,
                           budget.Reserve("fresh rows", bytes_max / kFloorShare));
  return std::unique_ptr<FreshBudget>(new FreshBudget(bytes_max, std::move(reserved)));
}

absl::Status FreshBudget::Resize(uint64_t owner, const std::weak_ptr<FreshHolder>& holder,
                                 uint64_t bytes) {
  base::MutexLock lock(&mu_);
  const auto it = held_.find(owner);
  const uint64_t before = it == held_.end() ? 0 : it->second.bytes;
  const uint64_t used = used_bytes_ - before + bytes;
  if (bytes > before && used > bytes_max_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "rows that are not in lists yet would take ", used, " bytes, at most ", bytes_max_,
        " are allowed; retry later, load in bulk, or raise the memory "
        "limit"));
  }
  // Shrinking cannot fail.
  TESSERA_RETURN_IF_ERROR(reserved_.Resize(std::max(used, floor_bytes_)));
  used_bytes_ = used;
  if (bytes == 0) {
    held_.erase(owner);
  } else {
    held_[owner] = {.bytes = bytes, .holder = holder};
  }
  return absl::OkStatus();
}

void FreshBudget::Forget(uint64_t owner) {
  Resize(owner, {}, 0).IgnoreError();
}

std::shared_ptr<FreshHolder> FreshBudget::Largest() const {
  base::MutexLock lock(&mu_);
  const Held* largest = nullptr;
  for (const auto& [owner, held] : held_) {
    if (held.holder.expired()) continue;
    if (largest == nullptr || held.bytes > largest->bytes) largest = &held;
  }
  return largest == nullptr ? nullptr : largest->holder.lock();
}

bool FreshBudget::IsLargest(uint64_t owner) const {
  base::MutexLock lock(&mu_);
  const auto it = held_.find(owner);
  if (it == held_.end()) return false;
  return std::all_of(held_.begin(), held_.end(),
                     [&](const auto& entry) { return entry.second.bytes <= it->second.bytes; });
}

uint64_t FreshBudget::used_bytes() const {
  base::MutexLock lock(&mu_);
  return used_bytes_;
}

}  // namespace tessera::db
