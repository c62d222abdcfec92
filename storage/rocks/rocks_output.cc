#include "storage/rocks/rocks_output.h"

#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "rocksdb/file_system.h"
#include "rocksdb/io_status.h"
#include "rocksdb/slice.h"

#include "base/mutex.h"
#include "base/status_macros.h"
#include "storage/rocks/rocks_disk.h"
#include "storage/rocks/rocks_status.h"
#include "storage/rocks/wal_tracker.h"

namespace tessera::storage {
namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

std::span<const std::byte> AsBytes(const Slice& data) {
  return std::as_bytes(std::span(data.data(), data.size()));
}

// Cuts a file whose writer has failed and makes what is left durable.
absl::Status CutFile(base::FileSystem& fs, const std::string& path, uint64_t bytes) {
  // A new handle, because a file that has failed once stays failed.
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<base::WritableFile> file,
                           fs.OpenForWrite(path, base::WriteMode::kAppend));
  TESSERA_RETURN_IF_ERROR(file->Truncate(bytes));
  TESSERA_RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

class OutputFile : public rocksdb::FSWritableFile {
 public:
  OutputFile(RocksDisk& disk, std::unique_ptr<base::WritableFile> file, const FileOptions& options)
      : rocksdb::FSWritableFile(options), disk_(disk), file_(std::move(file)) {}

  using rocksdb::FSWritableFile::Append;
  IOStatus Append(const Slice& data, const IOOptions&, IODebugContext*) override {
    return Change([&] { return file_->Append(AsBytes(data)); });
  }
  IOStatus Flush(const IOOptions&, IODebugContext*) override {
    return Change([&] { return file_->Flush(); });
  }
  IOStatus Sync(const IOOptions&, IODebugContext*) override {
    return Change([&] { return file_->Sync(); });
  }
  IOStatus Truncate(uint64_t size, const IOOptions&, IODebugContext*) override {
    // RocksDB also calls this to cut preallocated space off; there is none here.
    return size == file_->size() ? IOStatus::OK() : Change([&] { return file_->Truncate(size); });
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override {
    return Change([&] { return file_->Close(); });
  }
  uint64_t GetFileSize(const IOOptions&, IODebugContext*) override { return file_->size(); }

 private:
  IOStatus Change(absl::FunctionRef<absl::Status()> change) {
    return ToRocks(disk_.Change(change));
  }

  RocksDisk& disk_;
  const std::unique_ptr<base::WritableFile> file_;
};

// A manifest. RocksDB syncs it after every change of the set of table files and goes on with
// another one after an error. What was not synced is then cut off, so that the disk has what
// RocksDB has.
class ManifestFile : public rocksdb::FSWritableFile {
 public:
  ManifestFile(RocksDisk& disk, std::string path, std::unique_ptr<base::WritableFile> file,
               const FileOptions& options)
      : rocksdb::FSWritableFile(options),
        disk_(disk),
        number_(RocksFileNumber(path)),
        path_(std::move(path)),
        file_(std::move(file)),
        synced_bytes_(file_->size()) {}

  using rocksdb::FSWritableFile::Append;
  IOStatus Append(const Slice& data, const IOOptions&, IODebugContext*) override {
    return Write([&] { return file_->Append(AsBytes(data)); });
  }
  IOStatus Flush(const IOOptions&, IODebugContext*) override {
    return Write([&] { return file_->Flush(); });
  }
  IOStatus Sync(const IOOptions&, IODebugContext*) override {
    return Write([&] {
      TESSERA_RETURN_IF_ERROR(file_->Sync());
      synced_bytes_ = file_->size();
      disk_.ManifestSynced(number_, synced_bytes_);
      return absl::OkStatus();
    });
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override {
    return ToRocks(disk_.Change([&] { return file_->Close(); }));
  }
  uint64_t GetFileSize(const IOOptions&, IODebugContext*) override { return file_->size(); }

 private:
  IOStatus Write(absl::FunctionRef<absl::Status()> write) {
    return ToRocks(disk_.Change([&] {
      TESSERA_RETURN_IF_ERROR(error_);
      error_ = write();
      if (!error_.ok() && !CutFile(disk_.fs(), path_, synced_bytes_).ok()) {
        disk_.ManifestFailed();
      }
      return error_;
    }));
  }

  RocksDisk& disk_;
  const uint64_t number_;
  const std::string path_;
  const std::unique_ptr<base::WritableFile> file_;
  uint64_t synced_bytes_;
  absl::Status error_;
};

// A write-ahead log. RocksDB appends from one thread and syncs from another.
//
// A failed write is undone, durably, before anyone hears of it: otherwise half a record would sit
// in the middle of the history once another log has been begun. Nothing more can be appended then,
// since RocksDB counts on the bytes that are gone.
class WalFile : public rocksdb::FSWritableFile {
 public:
  WalFile(RocksDisk& disk, std::string path, uint64_t number,
          std::unique_ptr<base::WritableFile> file)
      : disk_(disk),
        path_(std::move(path)),
        number_(number),
        file_(std::move(file)),
        whole_bytes_(file_->size()) {
    disk_.wals().Created(number_);
  }

  using rocksdb::FSWritableFile::Append;
  IOStatus Append(const Slice& data, const IOOptions&, IODebugContext*) override {
    const base::MutexLock lock(&mu_);
    return ToRocks(disk_.Change([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      TESSERA_RETURN_IF_ERROR(error_);
      error_ = file_->Append(AsBytes(data));
      if (error_.ok()) {
        disk_.wals().Grew(number_, file_->size());
      } else {
        Undo();
      }
      return error_;
    }));
  }

  // Called after every whole record.
  IOStatus Flush(const IOOptions&, IODebugContext*) override {
    const base::MutexLock lock(&mu_);
    return ToRocks(disk_.Change([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      TESSERA_RETURN_IF_ERROR(error_);
      error_ = file_->Flush();
      if (error_.ok()) {
        whole_bytes_ = file_->size();
      } else {
        Undo();
      }
      return error_;
    }));
  }

  IOStatus Sync(const IOOptions&, IODebugContext*) override {
    const base::MutexLock lock(&mu_);
    return ToRocks(disk_.Change([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      TESSERA_RETURN_IF_ERROR(error_);
      error_ = file_->Sync();
      if (error_.ok()) {
        whole_bytes_ = file_->size();
        disk_.wals().Synced(number_, whole_bytes_);
        disk_.LogSynced();
      } else {
        // What a failed sync has lost, a second one does not bring back.
        disk_.wals().Lost();
      }
      return error_;
    }));
  }

  bool IsSyncThreadSafe() const override { return true; }

  IOStatus Close(const IOOptions&, IODebugContext*) override {
    const base::MutexLock lock(&mu_);
    return ToRocks(
        disk_.Change([&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return file_->Close(); }));
  }

  uint64_t GetFileSize(const IOOptions&, IODebugContext*) override {
    const base::MutexLock lock(&mu_);
    return file_->size();
  }

 private:
  void Undo() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (CutFile(disk_.fs(), path_, whole_bytes_).ok()) {
      disk_.wals().Grew(number_, whole_bytes_);
      disk_.wals().Synced(number_, whole_bytes_);
    } else {
      disk_.wals().Lost();
    }
  }

  RocksDisk& disk_;
  const std::string path_;
  const uint64_t number_;

  base::Mutex mu_;
  const std::unique_ptr<base::WritableFile> file_ ABSL_PT_GUARDED_BY(mu_);
  uint64_t whole_bytes_ ABSL_GUARDED_BY(mu_);  // end of the last record that was handed over whole
  absl::Status error_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::unique_ptr<rocksdb::FSWritableFile> NewRocksOutput(RocksDisk& disk, const std::string& path,
                                                        std::unique_ptr<base::WritableFile> file,
                                                        const FileOptions& options) {
  const std::string_view name = std::string_view(path).substr(path.rfind('/') + 1);
  if (const std::optional<uint64_t> wal = WalNumber(path); wal.has_value()) {
    return std::make_unique<WalFile>(disk, path, *wal, std::move(file));
  }
  if (name.starts_with("MANIFEST-")) {
    return std::make_unique<ManifestFile>(disk, path, std::move(file), options);
  }
  return std::make_unique<OutputFile>(disk, std::move(file), options);
}

}  // namespace tessera::storage
