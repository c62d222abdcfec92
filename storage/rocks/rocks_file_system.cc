#include "storage/rocks/rocks_file_system.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "rocksdb/file_system.h"
#include "rocksdb/io_status.h"
#include "rocksdb/slice.h"

#include "base/status_macros.h"
#include "storage/rocks/rocks_disk.h"
#include "storage/rocks/rocks_output.h"
#include "storage/rocks/rocks_status.h"
#include "storage/rocks/table_check.h"
#include "storage/rocks/wal_tracker.h"

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

class SequentialFile : public rocksdb::FSSequentialFile {
 public:
  SequentialFile(std::unique_ptr<base::RandomAccessFile> file, uint64_t visible_bytes)
      : file_(std::move(file)), visible_bytes_(visible_bytes) {}

  IOStatus Read(size_t bytes, const IOOptions& options, Slice* result, char* scratch,
                IODebugContext* context) override {
    IOStatus status = PositionedRead(offset_, bytes, options, result, scratch, context);
    if (status.ok()) offset_ += result->size();
    return status;
  }

  IOStatus Skip(uint64_t bytes) override {
    offset_ += bytes;
    return IOStatus::OK();
  }

  // NOLINTNEXTLINE(readability-function-size): RocksDB's interface.
  IOStatus PositionedRead(uint64_t offset, size_t bytes, const IOOptions&, Slice* result,
                          char* scratch, IODebugContext*) override {
    *result = Slice(scratch, 0);
    const auto wanted = static_cast<size_t>(
        std::min<uint64_t>(bytes, visible_bytes_ - std::min(offset, visible_bytes_)));
    const absl::StatusOr<size_t> got = file_->Read(offset, Writable(scratch, wanted));
    if (!got.ok()) return ToRocks(got.status());
    *result = Slice(scratch, *got);
    return IOStatus::OK();
  }

 private:
  const std::unique_ptr<base::RandomAccessFile> file_;
  const uint64_t visible_bytes_;
  uint64_t offset_ = 0;
};

class RandomFile : public rocksdb::FSRandomAccessFile {
 public:
  explicit RandomFile(std::unique_ptr<base::RandomAccessFile> file) : file_(std::move(file)) {}

  // NOLINTNEXTLINE(readability-function-size): RocksDB's interface.
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

class Directory : public rocksdb::FSDirectory {
 public:
  Directory(RocksDisk& disk, std::string path) : disk_(disk), path_(std::move(path)) {}
  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    return ToRocks(disk_.Change([&] { return disk_.SyncDirectory(path_); }));
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }

 private:
  RocksDisk& disk_;
  const std::string path_;
};

class RocksFileSystem : public rocksdb::FileSystem {
 public:
  explicit RocksFileSystem(RocksDisk& disk) : disk_(disk), fs_(disk.fs()) {}

  const char* Name() const override { return "TesseraFileSystem"; }

  IOStatus NewSequentialFile(const std::string& path, const FileOptions&,
                             std::unique_ptr<rocksdb::FSSequentialFile>* result,
                             IODebugContext*) override {
    absl::StatusOr<std::unique_ptr<base::RandomAccessFile>> file = fs_.OpenForRead(path, {});
    if (!file.ok()) return ToRocks(file.status());
    const uint64_t all = std::numeric_limits<uint64_t>::max();
    *result =
        std::make_unique<SequentialFile>(*std::move(file), disk_.VisibleBytes(path).value_or(all));
    return IOStatus::OK();
  }

  IOStatus NewRandomAccessFile(const std::string& path, const FileOptions&,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                               IODebugContext*) override {
    absl::StatusOr<std::unique_ptr<base::RandomAccessFile>> file = fs_.OpenForRead(path, {});
    if (!file.ok()) return ToRocks(file.status());
    if (path.ends_with(".sst")) {
      const absl::Status whole = CheckTableFile(**file, path);
      if (!whole.ok()) return ToRocks(whole);
    }
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
    *result = std::make_unique<Directory>(disk_, path);
    return IOStatus::OK();
  }

  IOStatus FileExists(const std::string& path, const IOOptions&, IODebugContext*) override {
    const absl::StatusOr<bool> exists = fs_.Exists(path);
    if (!exists.ok()) return ToRocks(exists.status());
    return *exists && !Hidden(path) ? IOStatus::OK() : IOStatus::NotFound(path);
  }

  IOStatus GetChildren(const std::string& path, const IOOptions&, std::vector<std::string>* result,
                       IODebugContext*) override {
    absl::StatusOr<std::vector<std::string>> names = fs_.List(path);
    if (!names.ok()) return ToRocks(names.status());
    *result = *std::move(names);
    std::erase_if(*result,
                  [&](const std::string& name) { return Hidden(base::JoinPath(path, name)); });
    return IOStatus::OK();
  }

  IOStatus DeleteFile(const std::string& path, const IOOptions&, IODebugContext*) override {
    if (path.ends_with(".sst") && !disk_.manifest_known()) {
      return IOStatus::IOError(path, "kept: the manifest may name it");  // the next open decides
    }
    return ToRocks(disk_.Remove(path));
  }

  IOStatus CreateDir(const std::string& path, const IOOptions&, IODebugContext*) override {
    return Change([&] { return fs_.CreateDirectory(path); });
  }

  IOStatus CreateDirIfMissing(const std::string& path, const IOOptions&, IODebugContext*) override {
    return Change([&] { return fs_.CreateDirectory(path); });
  }

  IOStatus DeleteDir(const std::string& path, const IOOptions&, IODebugContext*) override {
    return Change([&] { return fs_.RemoveDirectory(path); });
  }

  IOStatus GetFileSize(const std::string& path, const IOOptions&, uint64_t* size,
                       IODebugContext*) override {
    if (const std::optional<uint64_t> visible = disk_.VisibleBytes(path); visible.has_value()) {
      *size = *visible;
      return IOStatus::OK();
    }
    return Take(fs_.FileSize(path), size);
  }

  IOStatus GetFileModificationTime(const std::string& path, const IOOptions&, uint64_t* seconds,
                                   IODebugContext*) override {
    return Take(fs_.ModifiedSeconds(path), seconds);
  }

  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions&,
                      IODebugContext*) override {
    return Change([&] {
      TESSERA_RETURN_IF_ERROR(fs_.Rename(from, to));
      if (std::string_view(to).ends_with("/CURRENT")) {
        disk_.CurrentRenamed(RocksFileNumber(from));
      }
      return absl::OkStatus();
    });
  }

  IOStatus LinkFile(const std::string& from, const std::string& to, const IOOptions&,
                    IODebugContext*) override {
    return Change([&] { return fs_.Link(from, to); });
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
  // A log that an open for writing would remove.
  bool Hidden(const std::string& path) const { return disk_.VisibleBytes(path) == 0; }

  template <typename T>
  static IOStatus Take(const absl::StatusOr<T>& from, T* to) {
    if (!from.ok()) return ToRocks(from.status());
    *to = *from;
    return IOStatus::OK();
  }

  IOStatus Change(absl::FunctionRef<absl::Status()> change) {
    return ToRocks(disk_.Change(change));
  }

  IOStatus OpenOutput(const std::string& path, const FileOptions& options, base::WriteMode mode,
                      std::unique_ptr<rocksdb::FSWritableFile>* result) {
    return Change([&] {
      // Not the same file emptied: one that was fenced off may still have it open.
      disk_.Replaced(path);
      if (mode == base::WriteMode::kTruncate) {
        const absl::Status removed = fs_.RemoveFile(path);
        TESSERA_RETURN_IF_ERROR(absl::IsNotFound(removed) ? absl::OkStatus() : removed);
      }
      TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<base::WritableFile> file,
                               fs_.OpenForWrite(path, mode));
      *result = NewRocksOutput(disk_, path, std::move(file), options);
      return absl::OkStatus();
    });
  }

  RocksDisk& disk_;
  base::FileSystem& fs_;
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> NewRocksFileSystem(RocksDisk& disk) {
  return std::make_shared<RocksFileSystem>(disk);
}

}  // namespace tessera::storage
