#include "version/columns/match_cache.h"

#include "absl/status/statusor.h"

namespace tessera::version {
namespace {

constexpr uint64_t kEntryShare = 8;
constexpr uint64_t kEntryBytes = 256;  // of the tables themselves

}  // namespace

MatchCache::Entry* MatchCache::Find(const Key& key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return &*found->second;
}

std::shared_ptr<const uint64_t> MatchCache::FindWords(const Key& key) {
  base::MutexLock lock(&mu_);
  const Entry* entry = Find(key);
  return entry == nullptr ? nullptr : entry->words;
}

std::shared_ptr<const query::IndexMatches> MatchCache::FindMatches(const Key& key) {
  base::MutexLock lock(&mu_);
  const Entry* entry = Find(key);
  return entry == nullptr ? nullptr : entry->matches;
}

void MatchCache::KeepWords(const Key& key, std::shared_ptr<const uint64_t> words, uint64_t bytes) {
  Keep({.key = key, .words = std::move(words), .matches = nullptr, .memory = {}}, bytes);
}

void MatchCache::KeepMatches(const Key& key, std::shared_ptr<const query::IndexMatches> matches,
                             uint64_t bytes) {
  Keep({.key = key, .words = nullptr, .matches = std::move(matches), .memory = {}}, bytes);
}

void MatchCache::Keep(Entry entry, uint64_t bytes) {
  bytes += 2 * entry.key.filter.size() + kEntryBytes;
  if (bytes > bytes_max_ / kEntryShare) return;
  base::MutexLock lock(&mu_);
  if (Find(entry.key) != nullptr) return;
  while (used_bytes_ + bytes > bytes_max_ && !entries_.empty()) RemoveOldest();
  absl::StatusOr<base::MemoryReservation> memory = budget_.Reserve("filters", bytes);
  if (!memory.ok()) return;
  entry.memory = *std::move(memory);
  used_bytes_ += bytes;
  entries_.push_front(std::move(entry));
  by_key_.emplace(entries_.front().key, entries_.begin());
}

void MatchCache::RemoveOldest() {
  Entry& oldest = entries_.back();
  used_bytes_ -= oldest.memory.bytes();
  by_key_.erase(oldest.key);
  entries_.pop_back();
}

uint64_t MatchCache::used_bytes() const {
  base::MutexLock lock(&mu_);
  return used_bytes_;
}

}  // namespace tessera::version
