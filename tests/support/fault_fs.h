// A file system in memory that knows what a power cut would leave of it, and that fails on demand.
//
// What is durable, as strict as POSIX allows a file system to be:
//   bytes   those of a file's last Sync; until then a Truncate is not durable either
//   names   those of the directory's last SyncDirectory: a synced file whose new name was not
//           synced is gone, a removed one whose directory was not synced is back. A rename is one
//           step, also between two directories.
// Appended bytes can be read after Flush only. A writable file that has failed goes on failing.
//
// Operations that change something (kOpenForWrite to kLink of FaultOp, but for Flush and Close) are
// counted, from 0, since construction or the last cut; a crash test runs a workload once to learn
// their number, then again with FailFrom(n) and CutPower for every n.
//
// Threads: as a FileSystem. Files and locks must not outlive the file system; those from before a
// power cut or kill answer kFailedPrecondition.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/files/file_system.h"
#include "base/mutex.h"
#include "tests/support/fault_tree.h"
#include "tests/support/seed.h"

namespace tessera::inline test {

// What a power cut does to bytes and names that were not synced.
enum class Tear {
  kNothing,       // nothing of them survives
  kUnsyncedTail,  // of each file a random prefix of the bytes, of the names a random prefix in time
  kHalfOfLastWrite,  // everything survives, but only the first half of the last append
};
std::string_view ToString(Tear tear);

enum class FaultOp {
  kOpenForWrite,
  kAppend,
  kSync,
  kTruncate,
  kCreateDirectory,
  kSyncDirectory,
  kRemoveFile,
  kRemoveDirectory,
  kRename,
  kLink,
  // Not counted:
  kOpenForRead,
  kRead,
  kList,
  kLock,
};

enum class FaultKind {
  kIoError,  // EIO: kDataLoss; nothing is done
  kDenied,   // EACCES: kPermissionDenied; nothing is done
  kNoSpace,  // ENOSPC: kResourceExhausted; an append has written the first half of its bytes
};

struct FaultRule {
  FaultOp op = FaultOp::kAppend;
  std::string path_part = "";  // part of the path; "" is every path
  FaultKind kind = FaultKind::kIoError;
  int skip = 0;                                 // matching operations let through before
  int count = std::numeric_limits<int>::max();  // operations that fail after those
};

inline constexpr int64_t kFaultNever = std::numeric_limits<int64_t>::max();

class FaultFs final : public base::FileSystem {
 public:
  explicit FaultFs(uint64_t seed = TestSeed());
  ~FaultFs() override;

  int64_t operations() const;
  // Counted operations from number `operation` on fail with kDataLoss, as on a machine that is
  // going down. Of the first of them CutPower takes it that it was under way: what it would have
  // changed counts as not synced.
  void FailFrom(int64_t operation);
  void AddRule(FaultRule rule);
  void ClearRules();

  // From now on everything that changes something, and the exclusive lock, is kPermissionDenied, as
  // on a file system that is mounted for reading only.
  void SetReadOnly(bool read_only);

  // Turns the power off and on again. No operation fails then, FailFrom and rules are forgotten.
  void CutPower(Tear tear);
  // kill -9: of bytes that were not flushed a random prefix survives, everything else stays. Rules
  // and FailFrom are forgotten.
  void KillProcess();

  // Flips the bits of `mask` in the byte at `offset`, in memory and on the disk alike.
  absl::Status CorruptByte(const std::string& path, uint64_t offset, uint8_t mask);
  // Paths of all files, ascending.
  std::vector<std::string> Files() const;
  // What FreeBytes answers; 1 TiB at first.
  void SetFreeBytes(uint64_t bytes);

  absl::StatusOr<std::unique_ptr<base::RandomAccessFile>> OpenForRead(
      const std::string& path, const base::ReadOptions& options) override;
  absl::StatusOr<std::unique_ptr<base::WritableFile>> OpenForWrite(const std::string& path,
                                                                   base::WriteMode mode) override;
  absl::Status CreateDirectory(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override;
  absl::Status RemoveFile(const std::string& path) override;
  absl::Status RemoveDirectory(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Link(const std::string& from, const std::string& to) override;
  absl::StatusOr<bool> Exists(const std::string& path) override;
  absl::StatusOr<bool> IsDirectory(const std::string& path) override;
  absl::StatusOr<uint64_t> FileSize(const std::string& path) override;
  absl::StatusOr<uint64_t> ModifiedSeconds(const std::string& path) override;
  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<base::FileLock>> Lock(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<base::FileLock>> LockShared(const std::string& path) override;

 private:
  class ReadHandle;
  class WriteHandle;
  class LockHandle;

  // The directory that holds (or would hold) a path, the last part of it, and what is there.
  struct Place {
    FaultNodePtr directory;
    std::string name;
    FaultNodePtr node;  // null: nothing
  };
  absl::StatusOr<Place> Find(const std::string& path) const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  absl::StatusOr<FaultNodePtr> FindDirectory(const std::string& path) const
      ABSL_SHARED_LOCKS_REQUIRED(mu_);
  absl::StatusOr<FaultNodePtr> FindFile(const std::string& path) const
      ABSL_SHARED_LOCKS_REQUIRED(mu_);

  struct Verdict {
    absl::Status status;
    bool under_way = false;  // the first operation that FailFrom stopped
    bool half = false;       // an append that ran out of space
  };
  // Counts an operation that is otherwise possible and says whether it may happen.
  Verdict Admit(FaultOp op, const std::string& path) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status AdmitUncounted(FaultOp op, const std::string& path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Admits, then changes names.
  absl::Status Change(FaultOp op, const std::string& path, FaultNameChange change)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Restart() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable base::Mutex mu_;
  FaultTree tree_ ABSL_GUARDED_BY(mu_);
  std::mt19937_64 rng_ ABSL_GUARDED_BY(mu_);
  std::vector<FaultRule> rules_ ABSL_GUARDED_BY(mu_);
  std::map<const FaultNode*, int> locked_ ABSL_GUARDED_BY(mu_);  // how many share it; -1: one alone
  bool read_only_ ABSL_GUARDED_BY(mu_) = false;
  int64_t operations_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t fail_from_ ABSL_GUARDED_BY(mu_) = kFaultNever;
  bool tripped_ ABSL_GUARDED_BY(mu_) = false;                  // an operation was under way already
  uint64_t lives_ ABSL_GUARDED_BY(mu_) = 0;                    // grows with every cut and kill
  uint64_t now_seconds_ ABSL_GUARDED_BY(mu_) = 1'700'000'000;  // grows with every operation
  uint64_t free_bytes_ ABSL_GUARDED_BY(mu_) = uint64_t{1} << 40;
};

}  // namespace tessera::inline test
