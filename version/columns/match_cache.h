// What filters match, kept for the next search with the same filter: least recently used goes
// first.
//
// An entry belongs to one column set or to one index version, by its serial number, and to a
// filter, by the text of its normal form. Neither ever changes what it says, so nothing is
// invalidated: what writes change are the live bitmap and the fresh rows, which are not in it.
//
// Threads: every call from any thread.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"

#include "base/memory_budget.h"
#include "base/mutex.h"
#include "query/row_filter.h"

namespace tessera::version {

class MatchCache {
 public:
  // Entries take at most `bytes_max` together, charged to `budget` as they come; what that has no
  // room for is not kept.
  MatchCache(base::MemoryBudget& budget, uint64_t bytes_max)
      : budget_(budget), bytes_max_(bytes_max) {}

  struct Key {
    uint64_t serial = 0;
    std::string filter;
    friend auto operator<=>(const Key&, const Key&) = default;
  };

  // Null if it is not there.
  std::shared_ptr<const uint64_t> FindWords(const Key& key);
  std::shared_ptr<const query::IndexMatches> FindMatches(const Key& key);
  // `bytes`: what it takes beside others that are kept. An entry of more than an eighth of all is
  // not kept.
  void KeepWords(const Key& key, std::shared_ptr<const uint64_t> words, uint64_t bytes);
  void KeepMatches(const Key& key, std::shared_ptr<const query::IndexMatches> matches,
                   uint64_t bytes);

  uint64_t used_bytes() const;

 private:
  struct Entry {
    Key key;
    std::shared_ptr<const uint64_t> words;
    std::shared_ptr<const query::IndexMatches> matches;
    base::MemoryReservation memory;
  };

  Entry* Find(const Key& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Keep(Entry entry, uint64_t bytes);
  void RemoveOldest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  base::MemoryBudget& budget_;
  const uint64_t bytes_max_;
  mutable base::Mutex mu_;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mu_);  // the one used last first
  std::map<Key, std::list<Entry>::iterator> by_key_ ABSL_GUARDED_BY(mu_);
  uint64_t used_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace tessera::version
