// Knows how far the row store's write-ahead logs have been made durable.
//
// RocksDB does not write down what it has synced, so after damage in a log it cannot tell a torn
// tail (nobody was promised anything) from the loss of an acknowledged write. The file system
// adapter tells this tracker of every append and sync of a log; every write carries the tracker's
// watermark of that moment, and CheckWal compares damage with the watermarks it finds.
//
// Private to storage/. Threads: all calls from any thread.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"

#include "base/mutex.h"

namespace tessera::storage {

// 12 for ".../000012.log"; nothing for other files.
std::optional<uint64_t> WalNumber(std::string_view path);

// Every log before `log` and the first `bytes` bytes of `log` are durable.
struct WalPosition {
  uint64_t log = 0;
  uint64_t bytes = 0;
  friend auto operator<=>(const WalPosition&, const WalPosition&) = default;
};

class WalTracker {
 public:
  void Created(uint64_t log);
  // The log now has `bytes` bytes, not all of them durable.
  void Grew(uint64_t log, uint64_t bytes);
  void Synced(uint64_t log, uint64_t bytes);
  void Removed(uint64_t log);
  // The names of all logs up to `log` are durable.
  void Named(uint64_t log);
  // The largest log so far; 0: none.
  uint64_t newest() const;

  // A log could not be synced or mended: what was written to it may be gone.
  void Lost();

  WalPosition durable() const;
  // How long each log of the durable prefix is known to be after a power cut, those whose name is
  // not durable and what follows them left out.
  std::vector<WalPosition> DurableLogs() const;
  bool lost() const;

 private:
  struct Extent {
    uint64_t bytes = 0;
    uint64_t synced_bytes = 0;
    bool named = false;
  };

  void Update() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable base::Mutex mu_;
  std::map<uint64_t, Extent> logs_ ABSL_GUARDED_BY(mu_);
  WalPosition durable_ ABSL_GUARDED_BY(mu_);
  bool lost_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace tessera::storage
