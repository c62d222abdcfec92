#include "storage/rocks_file_system.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "rocksdb/file_system.h"
#include "rocksdb/io_status.h"
#include "rocksdb/slice.h"

#include "base/mutex.h"
#include "base/status_macros.h"
#include "storage/rocks_status.h"
#include "storage/wal_tracker.h"

namespace tessera::storage {
namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

std::span<std::byte> Writable(char* data, size_t bytes) {
  return std::as_writable_bytes(std::span(data, bytes));
}

bool HasName(std::string_view path, std::string_view beginning) {
  return path.substr(path.rfind('/') + 1).starts_with(beginning);
}

// Keeps table files from being removed while it is not known which of them the manifest on the disk
// names. When a manifest cannot be written, RocksDB removes the files it was about to name, though
// the write may have reached the disk after all: the store could not be opened again.
class ManifestGuard {
 public:
  void Failed() { state_ = State::kUnknown; }
  // By a new manifest, which has all that is in use.
  void Replaced() {
    State expected = State::kUnknown;
    state_.compare_exchange_strong(expected, State::kReplaced);
  }
  void DirectorySynced() {
    State expected = State::kReplaced;
    state_.compare_exchange_strong(expected, State::kKnown);
  }
  bool known() const { return state_ == State::kKnown; }

 private:
  enum class State : uint8_t { kKnown, kUnknown, kReplaced };
  std::atomic<State> state_{State::kKnown};
};

class SequentialFile : public rocksdb::FSSequentialFile {
 public:
  explicit SequentialFile(std::unique_ptr<base::RandomAccessFile> file) : file_(std::move(file)) {}

  IOStatus Read(size_t bytes, const IOOptions& options, Slice* result, char* scratch,
                IODebugContext* context) override {
    const IOStatus status = PositionedRead(offset_, bytes, options, result, scratch, context);
    if (status.ok()) offset_ += result->size();
    return status;
  }

  IOStatus Skip(uint64_t bytes) override {
    offset_ += bytes;
    return IOStatus::OK();
  }

  IOStatus PositionedRead(uint64_t offset, size_t bytes, const IOOptions&, Slice* result,
                          char* scratch, IODebugContext*) override {
    *result = Slice(scratch, 0);
    const absl::StatusOr<size_t> got = file_->Read(offset, Writable(scratch, bytes));
    if (!got.ok()) return ToRocks(got.status());
    *result = Slice(scratch, *got);
    return IOStatus::OK();
  }

 private:
  const std::unique_ptr<base::RandomAccessFile> file_;
  uint64_t offset_ = 0;
};

class RandomFile : public rocksdb::FSRandomAccessFile {
 public:
  explicit RandomFile(std::unique_ptr<base::RandomAccessFile> file) : file_(std::move(file)) {}

  IOStatus Read(uint64_t offset, size_t bytes, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) const override {
    *result = Slice(scratch, 0);
    const absl::StatusOr<size_t> got = file_->Read(offset, Writable(scratch, bytes));
    if (!got.ok()) return ToRocks(got.status());
    *result = Slice(scratch, *got);
    return IOStatus::OK();
  }

 private:
  const std::unique_ptr<base::RandomAccessFile> file_;
};

class OutputFile : public rocksdb::FSWritableFile {
 public:
  // `manifest`: told of failures; null for other files.
  OutputFile(std::unique_ptr<base::WritableFile> file, const FileOptions& options,
             ManifestGuard* manifest)
      : rocksdb::FSWritableFile(options), file_(std::move(file)), manifest_(manifest) {}

  using rocksdb::FSWritableFile::Append;
  IOStatus Append(const Slice& data, const IOOptions&, IODebugContext*) override {
    return Told(file_->Append(std::as_bytes(std::span(data.data(), data.size()))));
  }
  IOStatus Flush(const IOOptions&, IODebugContext*) override { return Told(file_->Flush()); }
  IOStatus Sync(const IOOptions&, IODebugContext*) override { return Told(file_->Sync()); }
  IOStatus Truncate(uint64_t size, const IOOptions&, IODebugContext*) override {
    // RocksDB also calls this to cut preallocated space off; there is none here.
    return ToRocks(size == file_->size() ? absl::OkStatus() : file_->Truncate(size));
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return ToRocks(file_->Close()); }
  uint64_t GetFileSize(const IOOptions&, IODebugContext*) override { return file_->size(); }

 private:
  IOStatus Told(const absl::Status& status) {
    if (!status.ok() && manifest_ != nullptr) {
      manifest_->Failed();
    }
    return ToRocks(status);
  }

  const std::unique_ptr<base::WritableFile> file_;
  ManifestGuard* const manifest_;
};

// A write-ahead log. RocksDB appends from one thread and syncs from another.
//
// A failed write is undone, durably, before anyone hears of it: otherwise half a record would sit
// in the middle of the history once RocksDB has resumed on a new log. Nothing more can be appended
// then, since RocksDB counts on the bytes that are gone; a log that cannot be mended cannot be
// synced either, which keeps RocksDB from resuming.
class WalFile : public rocksdb::FSWritableFile {
 public:
  WalFile(base::FileSystem& fs, std::string path, uint64_t number,
          std::unique_ptr<base::WritableFile> file, WalTracker& tracker)
      : fs_(fs),
        path_(std::move(path)),
        number_(number),
        tracker_(tracker),
        file_(std::move(file)),
        whole_bytes_(file_->size()) {
    tracker_.Created(number_);
  }

  using rocksdb::FSWritableFile::Append;
  IOStatus Append(const Slice& data, const IOOptions&, IODebugContext*) override {
    const base::MutexLock lock(&mu_);
    if (!write_error_.ok()) return ToRocks(write_error_);
    const absl::Status status = file_->Append(std::as_bytes(std::span(data.data(), data.size())));
    if (status.ok()) {
      tracker_.Grew(number_, file_->size());
    } else {
      Undo(status);
    }
    return ToRocks(status);
  }

  // Called after every whole record.
  IOStatus Flush(const IOOptions&, IODebugContext*) override {
    const base::MutexLock lock(&mu_);
    if (!write_error_.ok()) return ToRocks(write_error_);
    const absl::Status status = file_->Flush();
    if (status.ok()) {
      whole_bytes_ = file_->size();
    } else {
      Undo(status);
    }
    return ToRocks(status);
  }

  IOStatus Sync(const IOOptions&, IODebugContext*) override {
    const base::MutexLock lock(&mu_);
    // A mended log has been synced; what a failed sync has lost, a second one does not bring back.
    if (!write_error_.ok()) return ToRocks(sync_error_);
    const absl::Status status = file_->Sync();
    if (status.ok()) {
      whole_bytes_ = file_->size();
      tracker_.Synced(number_, whole_bytes_);
    } else {
      write_error_ = sync_error_ = status;
    }
    return ToRocks(status);
  }

  bool IsSyncThreadSafe() const override { return true; }

  IOStatus Close(const IOOptions&, IODebugContext*) override {
    const base::MutexLock lock(&mu_);
    return ToRocks(file_->Close());
  }

  uint64_t GetFileSize(const IOOptions&, IODebugContext*) override {
    const base::MutexLock lock(&mu_);
    return file_->size();
  }

 private:
  // A new handle, because a file that has failed once stays failed.
  absl::Status Mend() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    TESSERA_ASSIGN_OR_RETURN(file_, fs_.OpenForWrite(path_, base::WriteMode::kAppend));
    TESSERA_RETURN_IF_ERROR(file_->Truncate(whole_bytes_));
    return file_->Sync();
  }

  void Undo(const absl::Status& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    write_error_ = why;
    sync_error_ = Mend();
    if (!sync_error_.ok()) return;
    tracker_.Grew(number_, whole_bytes_);
    tracker_.Synced(number_, whole_bytes_);
  }

  base::FileSystem& fs_;
  const std::string path_;
  const uint64_t number_;
  WalTracker& tracker_;

  base::Mutex mu_;
  std::unique_ptr<base::WritableFile> file_ ABSL_GUARDED_BY(mu_);
  uint64_t whole_bytes_ ABSL_GUARDED_BY(mu_);  // end of the last record that was handed over whole
  absl::Status write_error_ ABSL_GUARDED_BY(mu_);
  absl::Status sync_error_ ABSL_GUARDED_BY(mu_);
};

class Directory : public rocksdb::FSDirectory {
 public:
  Directory(base::FileSystem& fs, std::string path, ManifestGuard& manifest)
      : fs_(fs), path_(std::move(path)), manifest_(manifest) {}
  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    const absl::Status status = fs_.SyncDirectory(path_);
    if (status.ok()) {
      manifest_.DirectorySynced();
    }
    return ToRocks(status);
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }

 private:
  base::FileSystem& fs_;
  const std::string path_;
  ManifestGuard& manifest_;
};

class RocksFileSystem : public rocksdb::FileSystem {
 public:
  RocksFileSystem(base::FileSystem& fs, WalTracker& tracker) : fs_(fs), tracker_(tracker) {}

  const char* Name() const override { return "TesseraFileSystem"; }

  IOStatus NewSequentialFile(const std::string& path, const FileOptions&,
                             std::unique_ptr<rocksdb::FSSequentialFile>* result,
                             IODebugContext*) override {
    absl::StatusOr<std::unique_ptr<base::RandomAccessFile>> file = fs_.OpenForRead(path, {});
    if (!file.ok()) return ToRocks(file.status());
    *result = std::make_unique<SequentialFile>(*std::move(file));
    return IOStatus::OK();
  }

  IOStatus NewRandomAccessFile(const std::string& path, const FileOptions&,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                               IODebugContext*) override {
    absl::StatusOr<std::unique_ptr<base::RandomAccessFile>> file = fs_.OpenForRead(path, {});
    if (!file.ok()) return ToRocks(file.status());
    *result = std::make_unique<RandomFile>(*std::move(file));
    return IOStatus::OK();
  }

  IOStatus NewWritableFile(const std::string& path, const FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* result,
                           IODebugContext*) override {
    return OpenOutput(path, options, base::WriteMode::kTruncate, result);
  }

  IOStatus ReopenWritableFile(const std::string& path, const FileOptions& options,
                              std::unique_ptr<rocksdb::FSWritableFile>* result,
                              IODebugContext*) override {
    return OpenOutput(path, options, base::WriteMode::kAppend, result);
  }

  IOStatus NewDirectory(const std::string& path, const IOOptions&,
                        std::unique_ptr<rocksdb::FSDirectory>* result, IODebugContext*) override {
    const absl::StatusOr<bool> is_directory = fs_.IsDirectory(path);
    if (!is_directory.ok()) return ToRocks(is_directory.status());
    if (!*is_directory) return IOStatus::PathNotFound(path);
    *result = std::make_unique<Directory>(fs_, path, manifest_);
    return IOStatus::OK();
  }

  IOStatus FileExists(const std::string& path, const IOOptions&, IODebugContext*) override {
    const absl::StatusOr<bool> exists = fs_.Exists(path);
    if (!exists.ok()) return ToRocks(exists.status());
    return *exists ? IOStatus::OK() : IOStatus::NotFound(path);
  }

  IOStatus GetChildren(const std::string& path, const IOOptions&, std::vector<std::string>* result,
                       IODebugContext*) override {
    absl::StatusOr<std::vector<std::string>> names = fs_.List(path);
    if (!names.ok()) return ToRocks(names.status());
    *result = *std::move(names);
    return IOStatus::OK();
  }

  IOStatus DeleteFile(const std::string& path, const IOOptions&, IODebugContext*) override {
    if (path.ends_with(".sst") && !manifest_.known()) {
      return IOStatus::IOError(path, "kept: the manifest may name it");  // the next open decides
    }
    const absl::Status status = fs_.RemoveFile(path);
    if (const std::optional<uint64_t> wal = WalNumber(path); wal.has_value() && status.ok()) {
      tracker_.Removed(*wal);
    }
    return ToRocks(status);
  }

  IOStatus CreateDir(const std::string& path, const IOOptions&, IODebugContext*) override {
    return ToRocks(fs_.CreateDirectory(path));
  }

  IOStatus CreateDirIfMissing(const std::string& path, const IOOptions&, IODebugContext*) override {
    return ToRocks(fs_.CreateDirectory(path));
  }

  IOStatus DeleteDir(const std::string& path, const IOOptions&, IODebugContext*) override {
    return ToRocks(fs_.RemoveDirectory(path));
  }

  IOStatus GetFileSize(const std::string& path, const IOOptions&, uint64_t* size,
                       IODebugContext*) override {
    return Take(fs_.FileSize(path), size);
  }

  IOStatus GetFileModificationTime(const std::string& path, const IOOptions&, uint64_t* seconds,
                                   IODebugContext*) override {
    return Take(fs_.ModifiedSeconds(path), seconds);
  }

  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions&,
                      IODebugContext*) override {
    const absl::Status status = fs_.Rename(from, to);
    if (status.ok() && HasName(to, "CURRENT")) {
      manifest_.Replaced();
    }
    return ToRocks(status);
  }

  IOStatus LinkFile(const std::string& from, const std::string& to, const IOOptions&,
                    IODebugContext*) override {
    return ToRocks(fs_.Link(from, to));
  }

  // The store holds the directory's lock already, since before RocksDB was given it.
  IOStatus LockFile(const std::string&, const IOOptions&, rocksdb::FileLock** lock,
                    IODebugContext*) override {
    *lock = new rocksdb::FileLock();  // RocksDB gives it back to UnlockFile
    return IOStatus::OK();
  }

  IOStatus UnlockFile(rocksdb::FileLock* lock, const IOOptions&, IODebugContext*) override {
    delete lock;
    return IOStatus::OK();
  }

  IOStatus GetTestDirectory(const IOOptions&, std::string*, IODebugContext*) override {
    return IOStatus::NotSupported("no test directory");
  }

  IOStatus GetAbsolutePath(const std::string& path, const IOOptions&, std::string* result,
                           IODebugContext*) override {
    *result = path;  // only compared with itself
    return IOStatus::OK();
  }

  IOStatus GetFreeSpace(const std::string& path, const IOOptions&, uint64_t* bytes,
                        IODebugContext*) override {
    return Take(fs_.FreeBytes(path), bytes);
  }

  IOStatus IsDirectory(const std::string& path, const IOOptions&, bool* is_directory,
                       IODebugContext*) override {
    return Take(fs_.IsDirectory(path), is_directory);
  }

 private:
  template <typename T>
  static IOStatus Take(const absl::StatusOr<T>& from, T* to) {
    if (!from.ok()) return ToRocks(from.status());
    *to = *from;
    return IOStatus::OK();
  }

  IOStatus OpenOutput(const std::string& path, const FileOptions& options, base::WriteMode mode,
                      std::unique_ptr<rocksdb::FSWritableFile>* result) {
    absl::StatusOr<std::unique_ptr<base::WritableFile>> file = fs_.OpenForWrite(path, mode);
    if (!file.ok()) return ToRocks(file.status());
    if (const std::optional<uint64_t> wal = WalNumber(path); wal.has_value()) {
      *result = std::make_unique<WalFile>(fs_, path, *wal, *std::move(file), tracker_);
    } else {
      *result = std::make_unique<OutputFile>(*std::move(file), options,
                                             HasName(path, "MANIFEST-") ? &manifest_ : nullptr);
    }
    return IOStatus::OK();
  }

  base::FileSystem& fs_;
  WalTracker& tracker_;
  ManifestGuard manifest_;
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> NewRocksFileSystem(base::FileSystem& fs, WalTracker& tracker) {
  return std::make_shared<RocksFileSystem>(fs, tracker);
}

}  // namespace tessera::storage
