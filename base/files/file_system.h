// The file system behind everything durable, as an interface, so that tests can inject faults and
// power cuts beneath the row store and the extent store alike.
//
// Threads: a FileSystem and a RandomAccessFile may be used from any thread at once; a WritableFile
// from one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tessera::base {

// O_DIRECT offsets, lengths and buffers are multiples of this.
inline constexpr size_t kDirectIoAlignment = 512;

class RandomAccessFile {
 public:
  virtual ~RandomAccessFile() = default;

  // Reads up to out.size() bytes at `offset`; fewer only at the end of the file.
  //
  // Pre:    a file opened with direct_io takes offsets, sizes and buffers aligned to
  //         kDirectIoAlignment.
  // Errors: kInternal with errno for an I/O error (kDataLoss for EIO).
  virtual absl::StatusOr<size_t> Read(uint64_t offset, std::span<std::byte> out) const = 0;

  virtual absl::StatusOr<uint64_t> Size() const = 0;

  // The descriptor for engines that submit to the kernel themselves, or -1.
  virtual int descriptor() const { return -1; }
};

class WritableFile {
 public:
  virtual ~WritableFile() = default;
  // Errors: kResourceExhausted when no space is left; after any error the tail is undefined.
  virtual absl::Status Append(std::span<const std::byte> data) = 0;
  // Hands buffered bytes to the kernel; survives kill -9, not a power cut.
  virtual absl::Status Flush() = 0;
  // Makes every appended byte survive a power cut (fdatasync).
  virtual absl::Status Sync() = 0;
  virtual absl::Status Close() = 0;
  virtual absl::Status Truncate(uint64_t size) = 0;
  // Bytes appended since the file was empty.
  virtual uint64_t size() const = 0;
};

// Held while it lives: by one holder of one process, or by several that only read.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

struct ReadOptions {
  bool direct_io = false;  // bypass the kernel's page cache where the file system can
};

enum class WriteMode {
  kTruncate,  // create, or empty what is there
  kAppend,    // create, or continue at the end of what is there
};

// Paths are absolute or relative to the working directory, UTF-8, '/' separated.
// Errors of every call: kNotFound, kAlreadyExists, kPermissionDenied, kResourceExhausted (no space,
// too many files), kFailedPrecondition (directory not empty), kDataLoss (EIO), kInternal; the
// message names the call, the path and errno.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenForRead(
      const std::string& path, const ReadOptions& options) = 0;
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWrite(const std::string& path,
                                                                     WriteMode mode) = 0;
  virtual absl::Status CreateDirectory(const std::string& path) = 0;  // OK if it is there
  virtual absl::Status SyncDirectory(const std::string& path) = 0;    // makes names durable
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& path) = 0;  // names
  virtual absl::Status RemoveFile(const std::string& path) = 0;
  virtual absl::Status RemoveDirectory(const std::string& path) = 0;  // must be empty
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  virtual absl::Status Link(const std::string& from, const std::string& to) = 0;
  virtual absl::StatusOr<bool> Exists(const std::string& path) = 0;
  virtual absl::StatusOr<bool> IsDirectory(const std::string& path) = 0;
  virtual absl::StatusOr<uint64_t> FileSize(const std::string& path) = 0;
  virtual absl::StatusOr<uint64_t> ModifiedSeconds(const std::string& path) = 0;
  virtual absl::StatusOr<uint64_t> FreeBytes(const std::string& path) = 0;
  // kFailedPrecondition if another process or holder has it.
  virtual absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) = 0;
  // Held by any number of holders while nobody has it by Lock. Creates and changes nothing:
  // kNotFound if there is no such file. kFailedPrecondition as above.
  virtual absl::StatusOr<std::unique_ptr<FileLock>> LockShared(const std::string& path) = 0;
};

// The machine's own.
FileSystem& PosixFileSystem();

// Removes a directory with all that is in it; OK if it is not there.
absl::Status RemoveTree(FileSystem& fs, const std::string& path);

std::string JoinPath(std::string_view directory, std::string_view name);

}  // namespace tessera::base
