// What the files of one open RocksDB share: the file system, how far its logs are durable and the
// ledger that is told, what is known of its manifest, what it may see and remove, and the fence
// that ends its life.
//
// Private to storage/. Threads: every call from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "base/files/file_system.h"
#include "base/mutex.h"
#include "storage/rocks/sync_ledger.h"
#include "storage/rocks/wal_check.h"
#include "storage/rocks/wal_tracker.h"

namespace tessera::storage {

// 9 for ".../MANIFEST-000009" and for ".../000009.dbtmp"; 0 for names without a number.
uint64_t RocksFileNumber(std::string_view path);

class RocksDisk {
 public:
  // `dir`: of the store.
  RocksDisk(base::FileSystem& fs, std::string dir) : fs_(fs), dir_(std::move(dir)) {}

  base::FileSystem& fs() { return fs_; }
  WalTracker& wals() { return wals_; }

  // Before RocksDB is opened: the ledger, null for a directory that is only read, and what of the
  // logs is to be seen (those that are to be cut, but are not).
  void Begin(SyncLedger* ledger, const std::vector<LogVerdict>& logs);

  // Everything that changes files goes through here. kAborted once there is a fence;
  // kFailedPrecondition for a directory that is only read.
  absl::Status Change(absl::FunctionRef<absl::Status()> change);
  // Removes a file; until Release it only notes that: an open that turns out to have lost rows must
  // not have removed what it held for obsolete.
  absl::Status Remove(const std::string& path);
  void Release();
  // A file of that name is written anew.
  void Replaced(const std::string& path);

  // How much of a log may be seen; nothing for files that may be seen as they are.
  std::optional<uint64_t> VisibleBytes(const std::string& path) const;

  // From its return on nothing is changed any more, so that another RocksDB can take the directory
  // over while this one is still read.
  void Fence();

  // Table files must not be removed while it is not known which of them the manifest on the disk
  // names. When a manifest cannot be written, RocksDB removes the files it was about to name,
  // though the write may have reached the disk after all: the store could not be opened again.
  void ManifestFailed() { manifest_ = Manifest::kUnknown; }
  // CURRENT names another manifest, which has all that is in use; to be made durable.
  void CurrentRenamed(uint64_t manifest);
  // Makes the names in a directory durable. Within Change.
  absl::Status SyncDirectory(const std::string& path);

  // For the ledger, after the tracker knows.
  void LogSynced();
  void ManifestSynced(uint64_t manifest, uint64_t bytes);
  bool manifest_known() const { return manifest_ == Manifest::kKnown; }

 private:
  enum class Manifest : uint8_t { kKnown, kUnknown, kRenamed };

  absl::Status RemoveNow(const std::string& path);
  // The ledger may be told of what was named before.
  void NamesSynced(uint64_t newest_log);

  base::FileSystem& fs_;
  const std::string dir_;
  WalTracker wals_;
  SyncLedger* ledger_ = nullptr;
  std::map<std::string, uint64_t> visible_bytes_;  // of logs that are to be cut; 0: to be removed
  base::Mutex mu_;
  bool released_ ABSL_GUARDED_BY(mu_) = false;
  std::set<std::string> to_remove_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, uint64_t> manifest_bytes_ ABSL_GUARDED_BY(mu_);  // synced ones
  uint64_t renamed_manifest_ ABSL_GUARDED_BY(mu_) = 0;                // CURRENT names it
  uint64_t current_manifest_ ABSL_GUARDED_BY(mu_) = 0;                // and that is durable
  std::shared_mutex changing_mu_;  // held exclusively to set fenced_
  bool fenced_ = false;
  std::atomic<Manifest> manifest_{Manifest::kKnown};
};

}  // namespace tessera::storage
