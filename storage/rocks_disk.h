// What the files of one open RocksDB share: the file system, how far its logs are durable, what is
// known of its manifest, and the fence that ends its life.
//
// Private to storage/. Threads: every call from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <shared_mutex>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "base/file_system.h"
#include "storage/wal_tracker.h"

namespace tessera::storage {

class RocksDisk {
 public:
  explicit RocksDisk(base::FileSystem& fs) : fs_(fs) {}

  base::FileSystem& fs() { return fs_; }
  WalTracker& wals() { return wals_; }

  // Everything that changes files goes through here. kAborted once there is a fence.
  absl::Status Change(absl::FunctionRef<absl::Status()> change);
  // From its return on nothing is changed any more, so that another RocksDB can take the directory
  // over while this one is still read.
  void Fence();

  // Table files must not be removed while it is not known which of them the manifest on the disk
  // names. When a manifest cannot be written, RocksDB removes the files it was about to name,
  // though the write may have reached the disk after all: the store could not be opened again.
  void ManifestFailed() { manifest_ = Manifest::kUnknown; }
  // CURRENT names another manifest, which has all that is in use; to be made durable.
  void CurrentRenamed() { manifest_ = Manifest::kRenamed; }
  void DirectorySynced(bool ok);
  bool manifest_known() const { return manifest_ == Manifest::kKnown; }

 private:
  enum class Manifest : uint8_t { kKnown, kUnknown, kRenamed };

  base::FileSystem& fs_;
  WalTracker wals_;
  std::shared_mutex changing_mu_;  // held exclusively to set fenced_
  bool fenced_ = false;
  std::atomic<Manifest> manifest_{Manifest::kKnown};
};

}  // namespace tessera::storage
