#include "storage/rocks/wal_tracker.h"

#include <algorithm>

#include "absl/strings/numbers.h"

#include "base/strings.h"

namespace tessera::storage {

std::optional<uint64_t> WalNumber(std::string_view path) {
  constexpr std::string_view kSuffix = ".log";
  const std::string_view name = path.substr(path.rfind('/') + 1);
  if (!name.ends_with(kSuffix)) return std::nullopt;
  uint64_t number = 0;
  if (!absl::SimpleAtoi(base::Sv(name.substr(0, name.size() - kSuffix.size())), &number)) {
    return std::nullopt;
  }
  return number;
}

void WalTracker::Created(uint64_t log) {
  const base::MutexLock lock(&mu_);
  logs_[log] = Extent{};
}

void WalTracker::Grew(uint64_t log, uint64_t bytes) {
  const base::MutexLock lock(&mu_);
  logs_[log].bytes = bytes;
}

void WalTracker::Synced(uint64_t log, uint64_t bytes) {
  const base::MutexLock lock(&mu_);
  Extent& extent = logs_[log];
  extent.synced_bytes = std::max(extent.synced_bytes, bytes);
  Update();
}

void WalTracker::Removed(uint64_t log) {
  const base::MutexLock lock(&mu_);
  logs_.erase(log);
  Update();
}

void WalTracker::Named(uint64_t log) {
  const base::MutexLock lock(&mu_);
  for (auto it = logs_.begin(); it != logs_.end() && it->first <= log; ++it) {
    it->second.named = true;
  }
}

uint64_t WalTracker::newest() const {
  const base::MutexLock lock(&mu_);
  return logs_.empty() ? 0 : logs_.rbegin()->first;
}

std::vector<WalPosition> WalTracker::DurableLogs() const {
  const base::MutexLock lock(&mu_);
  std::vector<WalPosition> result;
  for (const auto& [log, extent] : logs_) {
    if (!extent.named || extent.synced_bytes == 0) break;
    result.push_back({log, extent.synced_bytes});
    if (extent.synced_bytes < extent.bytes) break;
  }
  return result;
}

void WalTracker::Lost() {
  const base::MutexLock lock(&mu_);
  lost_ = true;
}

bool WalTracker::lost() const {
  const base::MutexLock lock(&mu_);
  return lost_;
}

WalPosition WalTracker::durable() const {
  const base::MutexLock lock(&mu_);
  return durable_;
}

// The durable prefix ends in the first log that is not durable as a whole.
void WalTracker::Update() {
  WalPosition reached;
  for (const auto& [log, extent] : logs_) {
    reached = {log, extent.synced_bytes};
    if (extent.synced_bytes < extent.bytes) break;
  }
  durable_ = std::max(durable_, reached);
}

}  // namespace tessera::storage
