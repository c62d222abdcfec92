#include "base/memory_budget.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "base/check.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::base {

MemoryReservation::MemoryReservation(MemoryReservation&& other) noexcept
    : budget_(std::exchange(other.budget_, nullptr)),
      component_(std::move(other.component_)),
      bytes_(std::exchange(other.bytes_, 0)) {}

MemoryReservation& MemoryReservation::operator=(MemoryReservation&& other) noexcept {
  if (this != &other) {
    if (budget_ != nullptr) budget_->Subtract(component_, bytes_);
    budget_ = std::exchange(other.budget_, nullptr);
    component_ = std::move(other.component_);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

MemoryReservation::~MemoryReservation() {
  if (budget_ != nullptr) budget_->Subtract(component_, bytes_);
}

absl::Status MemoryReservation::Resize(uint64_t bytes) {
  if (bytes == bytes_) return absl::OkStatus();
  TESSERA_CHECK(budget_ != nullptr);  // a default or moved-from reservation belongs to no budget
  if (bytes > bytes_) {
    TESSERA_RETURN_IF_ERROR(budget_->Add(component_, bytes - bytes_));
  } else {
    budget_->Subtract(component_, bytes_ - bytes);
  }
  bytes_ = bytes;
  return absl::OkStatus();
}

uint64_t MemoryBudget::available_bytes() const {
  if (limit_bytes_ == 0) return std::numeric_limits<uint64_t>::max() - used_bytes();
  const uint64_t used = used_bytes();
  return used < limit_bytes_ ? limit_bytes_ - used : 0;
}

absl::StatusOr<MemoryReservation> MemoryBudget::Reserve(std::string_view component,
                                                        uint64_t bytes) {
  MemoryReservation reservation;
  reservation.component_ = std::string(component);
  TESSERA_RETURN_IF_ERROR(Add(reservation.component_, bytes));
  reservation.budget_ = this;
  reservation.bytes_ = bytes;
  return reservation;
}

std::map<std::string, uint64_t> MemoryBudget::UsageByComponent() const {
  MutexLock lock(&mu_);
  return by_component_;
}

absl::Status MemoryBudget::Add(const std::string& component, uint64_t bytes) {
  if (bytes == 0) return absl::OkStatus();
  MutexLock lock(&mu_);
  const uint64_t used = used_bytes_.load(std::memory_order_relaxed);
  const uint64_t limit = limit_bytes_ == 0 ? std::numeric_limits<uint64_t>::max() : limit_bytes_;
  if (bytes > limit - used) {
    return absl::ResourceExhaustedError(
        absl::StrCat("memory for ", component, ": ", FormatByteSize(bytes), " asked, ",
                     FormatByteSize(used), " of ", FormatByteSize(limit), " in use"));
  }
  by_component_[component] += bytes;
  used_bytes_.store(used + bytes, std::memory_order_relaxed);
  return absl::OkStatus();
}

void MemoryBudget::Subtract(const std::string& component, uint64_t bytes) {
  if (bytes == 0) return;
  MutexLock lock(&mu_);
  const auto it = by_component_.find(component);
  TESSERA_CHECK(it != by_component_.end() && it->second >= bytes);
  it->second -= bytes;
  if (it->second == 0) by_component_.erase(it);  // the map is as large as what is in use
  used_bytes_.store(used_bytes_.load(std::memory_order_relaxed) - bytes, std::memory_order_relaxed);
}

namespace {

struct Unit {
  const char* name;
  uint64_t bytes;
};
constexpr std::array<Unit, 10> kUnits = {{
    {"", 1},
    {"B", 1},
    {"KB", 1'000},
    {"MB", 1'000'000},
    {"GB", 1'000'000'000},
    {"TB", 1'000'000'000'000},
    {"KiB", uint64_t{1} << 10},
    {"MiB", uint64_t{1} << 20},
    {"GiB", uint64_t{1} << 30},
    {"TiB", uint64_t{1} << 40},
}};
constexpr uint64_t kFractionMax = 1'000'000;  // six digits after the point

}  // namespace

absl::StatusOr<uint64_t> ParseByteSize(std::string_view text) {
  const auto error = [text](const char* why) {
    return absl::InvalidArgumentError(
        absl::StrCat("size \"", Sv(text), "\" ", why,
                     "; a number with B, KB, MB, GB, TB, KiB, MiB, GiB or TiB is wanted"));
  };
  size_t at = 0;
  const auto is_digit = [&] { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
  if (!is_digit()) return error("does not start with a digit");
  uint64_t whole = 0;
  for (; is_digit(); ++at) {
    if (__builtin_mul_overflow(whole, uint64_t{10}, &whole) ||
        __builtin_add_overflow(whole, static_cast<uint64_t>(text[at] - '0'), &whole)) {
      return error("is too large");
    }
  }
  uint64_t fraction = 0;
  uint64_t scale = 1;
  if (at < text.size() && text[at] == '.') {
    ++at;
    if (!is_digit()) return error("has no digit after the point");
    for (; is_digit(); ++at) {
      if (scale == kFractionMax) return error("has more than six digits after the point");
      fraction = fraction * 10 + static_cast<uint64_t>(text[at] - '0');
      scale *= 10;
    }
  }
  if (at + 1 < text.size() && text[at] == ' ') ++at;
  for (const Unit& unit : kUnits) {
    if (!absl::EqualsIgnoreCase(Sv(text.substr(at)), unit.name)) continue;
    uint64_t bytes = 0;
    // At most 10^6 * 2^40 under the fraction bar.
    if (__builtin_mul_overflow(whole, unit.bytes, &bytes) ||
        __builtin_add_overflow(bytes, fraction * unit.bytes / scale, &bytes)) {
      return error("is too large");
    }
    return bytes;
  }
  return error("has an unknown unit");
}

std::string FormatByteSize(uint64_t bytes) {
  for (const char* name : {"TiB", "GiB", "MiB", "KiB"}) {
    const Unit* unit = std::find_if(kUnits.begin(), kUnits.end(),
                                    [name](const Unit& each) { return each.name == Sv(name); });
    if (bytes < unit->bytes) continue;
    if (bytes % unit->bytes == 0) return absl::StrCat(bytes / unit->bytes, name);
    return absl::StrFormat("%.1f%s", static_cast<double>(bytes) / static_cast<double>(unit->bytes),
                           name);
  }
  return absl::StrCat(bytes, "B");
}

}  // namespace tessera::base
