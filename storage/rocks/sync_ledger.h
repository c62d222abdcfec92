// What of the row store's directory is known to be durable, kept beside it: how long each log that
// is needed was at its last sync, how long the manifest, and the last write of a clean close.
//
// A log or manifest that ends early, or is not there, looks like one that was never longer. This
// file says what there was, so that absence is seen like any other damage.
//
// Every entry is a lower bound that was true when it was written: an entry is made after the sync
// it tells of. So most need no sync of their own. They survive kill -9, and after a power cut some
// may be missing, which only lowers the bound. Where a bound has to fall (a log is cut or removed)
// the entry is durable before that is done.
//
// Format: storage/FORMAT.md, "Ledger". Private to storage/. Threads: every call from any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/files/file_system.h"
#include "base/mutex.h"
#include "storage/rocks/wal_tracker.h"

namespace tessera::storage {

struct ManifestMark {
  uint64_t number = 0;  // of the manifest that CURRENT names, or of an earlier one
  uint64_t bytes = 0;
  friend bool operator==(const ManifestMark&, const ManifestMark&) = default;
};

struct LedgerState {
  std::optional<ManifestMark> manifest;  // none: the store was not created to its end
  std::map<uint64_t, uint64_t> logs;     // number -> durable bytes, of the logs that are needed
  uint64_t sequence = 0;                 // of the last write before a clean close
  friend bool operator==(const LedgerState&, const LedgerState&) = default;
};

// "<dir>.synced": beside the directory, which may be lost as a whole.
std::string LedgerPath(const std::string& dir);

// What the ledger at `path` says; nothing at all if it is not there. Entries that do not check out
// are passed over: what they said is unknown, and every other one is true by itself.
//
// Errors: kUnimplemented for a newer format; those of the file system.
absl::StatusOr<LedgerState> ReadLedger(base::FileSystem& fs, const std::string& path);

class SyncLedger {
 public:
  // Replaces the file by one that says `state`, in one durable step.
  // Errors: those of the file system; the file is as it was, or says `state`.
  static absl::StatusOr<std::unique_ptr<SyncLedger>> Create(base::FileSystem& fs, std::string path,
                                                            LedgerState state);

  LedgerState state() const;

  // The logs' durable lengths; smaller ones than are known change nothing. An entry that cannot be
  // written is left out: nobody is promised anything by it.
  // Cost: one small write to the kernel, no sync.
  void LogsSynced(std::span<const WalPosition> logs);
  // As LogsSynced, but durable: manifests are synced rarely, and their loss costs most.
  void ManifestSynced(const ManifestMark& manifest);

  // Durable when it returns. The log is not to be touched before, and not at all after an error.
  absl::Status LogCut(uint64_t log, uint64_t bytes);
  absl::Status LogObsolete(uint64_t log);
  // Everything up to this sequence number is durable, and the store will write no more.
  absl::Status Closed(uint64_t sequence);

 private:
  SyncLedger(base::FileSystem& fs, std::string path, LedgerState state)
      : fs_(fs), path_(std::move(path)), state_(std::move(state)) {}

  absl::Status Replace() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status Add(std::string_view entries, bool durable) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  base::FileSystem& fs_;
  const std::string path_;
  mutable base::Mutex mu_;
  LedgerState state_ ABSL_GUARDED_BY(mu_);
  // Logs that went lately. Whoever has synced a log may have asked how far before it went and say
  // so after: taken down then, a log that is rightly gone would be missing at the next open.
  std::set<uint64_t> obsolete_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<base::WritableFile> file_ ABSL_GUARDED_BY(mu_);  // null after an error
};

}  // namespace tessera::storage
