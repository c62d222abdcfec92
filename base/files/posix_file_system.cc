#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/files/file_system.h"
#include "base/mutex.h"
#include "base/status_macros.h"

namespace tessera::base {
namespace {

constexpr size_t kWriteBufferBytes = size_t{64} << 10;
constexpr size_t kIoBytesMax = size_t{1} << 30;  // Linux moves at most 2 GiB - 4 KiB at once

absl::Status PosixError(const char* call, const std::string& path, int error) {
  const std::string message =
      absl::StrCat(call, " ", path, ": ", std::strerror(error), " (errno ", error, ")");
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EMLINK:
      return absl::ResourceExhaustedError(message);
    case ENOTEMPTY:
      return absl::FailedPreconditionError(message);
    case EIO:
      return absl::DataLossError(message);
    default:
      return absl::InternalError(message);
  }
}

template <typename Call>
auto RetryOnInterrupt(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }

  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

absl::StatusOr<Descriptor> OpenDescriptor(const std::string& path, int flags) {
  constexpr mode_t kMode = 0644;
  const int fd = RetryOnInterrupt([&] { return ::open(path.c_str(), flags | O_CLOEXEC, kMode); });
  if (fd < 0) return PosixError("open", path, errno);
  return Descriptor(fd);
}

absl::StatusOr<struct stat> Stat(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return PosixError("stat", path, errno);
  return info;
}

class PosixRandomAccessFile final : public RandomAccessFile {
 public:
  PosixRandomAccessFile(std::string path, Descriptor fd, bool direct_io)
      : path_(std::move(path)), fd_(std::move(fd)), direct_io_(direct_io) {}

  absl::StatusOr<size_t> Read(uint64_t offset, std::span<std::byte> out) const override {
    if (direct_io_) {
      TESSERA_DCHECK(offset % kDirectIoAlignment == 0 && out.size() % kDirectIoAlignment == 0);
      TESSERA_DCHECK(reinterpret_cast<uintptr_t>(out.data()) % kDirectIoAlignment == 0);
    }
    size_t done = 0;
    while (done < out.size()) {
      const size_t wanted = std::min(out.size() - done, kIoBytesMax);
      const ssize_t got = RetryOnInterrupt([&] {
        return ::pread(fd_.get(), out.data() + done, wanted, static_cast<off_t>(offset + done));
      });
      if (got < 0) return PosixError("pread", path_, errno);
      done += static_cast<size_t>(got);
      // Going on from an odd place would break the alignment; only the end of a file is odd.
      if (got == 0 || done % kDirectIoAlignment != 0) {
        if (got == 0 || direct_io_) break;
      }
    }
    return done;
  }

  absl::StatusOr<uint64_t> Size() const override {
    struct stat info{};
    if (::fstat(fd_.get(), &info) != 0) return PosixError("fstat", path_, errno);
    return static_cast<uint64_t>(info.st_size);
  }

  int descriptor() const override { return fd_.get(); }

 private:
  const std::string path_;
  const Descriptor fd_;
  const bool direct_io_;
};

class PosixWritableFile final : public WritableFile {
 public:
  PosixWritableFile(std::string path, Descriptor fd, uint64_t size)
      : path_(std::move(path)), fd_(std::move(fd)), written_bytes_(size) {
    buffer_.reserve(kWriteBufferBytes);
  }

  ~PosixWritableFile() override {
    if (fd_.get() >= 0) static_cast<void>(Close());
  }
  PosixWritableFile(const PosixWritableFile&) = delete;
  PosixWritableFile& operator=(const PosixWritableFile&) = delete;

  absl::Status Append(std::span<const std::byte> data) override {
    TESSERA_RETURN_IF_ERROR(Usable());
    if (data.size() >= kWriteBufferBytes - buffer_.size()) {
      TESSERA_RETURN_IF_ERROR(Flush());
      if (data.size() >= kWriteBufferBytes) return Write(data);
    }
    buffer_.insert(buffer_.end(), data.begin(), data.end());
    return absl::OkStatus();
  }

  absl::Status Flush() override {
    TESSERA_RETURN_IF_ERROR(Usable());
    TESSERA_RETURN_IF_ERROR(Write(buffer_));
    buffer_.clear();
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    TESSERA_RETURN_IF_ERROR(Flush());
    if (RetryOnInterrupt([this] { return ::fdatasync(fd_.get()); }) != 0) {
      return Fail("fdatasync");
    }
    return absl::OkStatus();
  }

  absl::Status Close() override {
    if (fd_.get() < 0) return absl::OkStatus();
    absl::Status flushed = Flush();
    // After EINTR Linux has closed the descriptor all the same.
    const int result = ::close(fd_.Release());
    if (flushed.ok() && result != 0 && errno != EINTR) return Fail("close");
    return flushed;
  }

  absl::Status Truncate(uint64_t size) override {
    TESSERA_RETURN_IF_ERROR(Flush());
    if (RetryOnInterrupt([&] { return ::ftruncate(fd_.get(), static_cast<off_t>(size)); }) != 0) {
      return Fail("ftruncate");
    }
    written_bytes_ = size;
    return absl::OkStatus();
  }

  uint64_t size() const override { return written_bytes_ + buffer_.size(); }

 private:
  // An error stays: after a failed fdatasync the kernel may have dropped the pages, and a second
  // call that succeeds would say nothing about them.
  absl::Status Fail(const char* call) { return error_ = PosixError(call, path_, errno); }

  absl::Status Usable() const {
    if (!error_.ok()) return error_;
    if (fd_.get() < 0) return absl::FailedPreconditionError(absl::StrCat(path_, " is closed"));
    return absl::OkStatus();
  }

  absl::Status Write(std::span<const std::byte> data) {
    while (!data.empty()) {
      const ssize_t put = RetryOnInterrupt([&] {
        return ::pwrite(fd_.get(), data.data(), std::min(data.size(), kIoBytesMax),
                        static_cast<off_t>(written_bytes_));
      });
      if (put < 0) return Fail("pwrite");
      written_bytes_ += static_cast<uint64_t>(put);
      data = data.subspan(static_cast<size_t>(put));
    }
    return absl::OkStatus();
  }

  const std::string path_;
  Descriptor fd_;
  uint64_t written_bytes_;
  std::vector<std::byte> buffer_;
  absl::Status error_;
};

// Device and inode of the lock files held in this process. flock() alone would do on local file
// systems, but over NFS it becomes a lock of the whole process.
class LockRegistry {
 public:
  using Key = std::pair<dev_t, ino_t>;

  // False if another holder is in the way: any for an exclusive lock, an exclusive one else.
  bool Insert(const Key& key, bool shared) {
    MutexLock lock(&mu_);
    int& holders = held_[key];
    if (shared ? holders < 0 : holders != 0) return false;
    holders = shared ? holders + 1 : kExclusive;
    return true;
  }
  void Erase(const Key& key) {
    MutexLock lock(&mu_);
    int& holders = held_[key];
    holders = holders == kExclusive ? 0 : holders - 1;
    if (holders == 0) held_.erase(key);
  }

  static LockRegistry& Get() {
    static LockRegistry registry;
    return registry;
  }

 private:
  Mutex mu_;
  static constexpr int kExclusive = -1;
  std::map<Key, int> held_ ABSL_GUARDED_BY(mu_);  // how many share it, or kExclusive
};

class PosixFileLock final : public FileLock {
 public:
  PosixFileLock(Descriptor fd, LockRegistry::Key key) : fd_(std::move(fd)), key_(key) {}
  ~PosixFileLock() override {
    ::flock(fd_.get(), LOCK_UN);
    LockRegistry::Get().Erase(key_);
  }
  PosixFileLock(const PosixFileLock&) = delete;
  PosixFileLock& operator=(const PosixFileLock&) = delete;

 private:
  const Descriptor fd_;
  const LockRegistry::Key key_;
};

// Whether reads aligned to kDirectIoAlignment work on a descriptor opened with O_DIRECT: a device
// with blocks of 4 KiB takes the open, but refuses them.
bool TakesDirectReads(int fd) {
  const std::unique_ptr<void, decltype(&std::free)> buffer(std::aligned_alloc(4096, 4096),
                                                           &std::free);
  if (buffer == nullptr) return false;
  auto* const odd = static_cast<std::byte*>(buffer.get()) + kDirectIoAlignment;
  return RetryOnInterrupt([&] {
           return ::pread(fd, odd, kDirectIoAlignment, static_cast<off_t>(kDirectIoAlignment));
         }) >= 0;
}

class PosixFs final : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenForRead(
      const std::string& path, const ReadOptions& options) override {
    if (options.direct_io) {
      absl::StatusOr<Descriptor> fd = OpenDescriptor(path, O_RDONLY | O_DIRECT);
      if (fd.ok() && TakesDirectReads(fd->get())) {
        return std::make_unique<PosixRandomAccessFile>(path, *std::move(fd), true);
      }
    }
    TESSERA_ASSIGN_OR_RETURN(Descriptor fd, OpenDescriptor(path, O_RDONLY));
    return std::make_unique<PosixRandomAccessFile>(path, std::move(fd), false);
  }

  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWrite(const std::string& path,
                                                             WriteMode mode) override {
    const int flags = O_WRONLY | O_CREAT | (mode == WriteMode::kTruncate ? O_TRUNC : 0);
    TESSERA_ASSIGN_OR_RETURN(Descriptor fd, OpenDescriptor(path, flags));
    struct stat info{};
    if (::fstat(fd.get(), &info) != 0) return PosixError("fstat", path, errno);
    return std::make_unique<PosixWritableFile>(path, std::move(fd),
                                               static_cast<uint64_t>(info.st_size));
  }

  absl::Status CreateDirectory(const std::string& path) override {
    constexpr mode_t kMode = 0755;
    if (::mkdir(path.c_str(), kMode) == 0) return absl::OkStatus();
    const int error = errno;
    if (error == EEXIST) {
      TESSERA_ASSIGN_OR_RETURN(const bool is_directory, IsDirectory(path));
      if (is_directory) return absl::OkStatus();
    }
    return PosixError("mkdir", path, error);
  }

  absl::Status SyncDirectory(const std::string& path) override {
    TESSERA_ASSIGN_OR_RETURN(const Descriptor fd, OpenDescriptor(path, O_RDONLY | O_DIRECTORY));
    if (RetryOnInterrupt([&] { return ::fsync(fd.get()); }) != 0) {
      return PosixError("fsync", path, errno);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
    if (directory == nullptr) return PosixError("opendir", path, errno);
    std::vector<std::string> names;
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(directory.get());
      if (entry == nullptr) break;
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    if (errno != 0) return PosixError("readdir", path, errno);
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::Status RemoveFile(const std::string& path) override {
    return ::unlink(path.c_str()) == 0 ? absl::OkStatus() : PosixError("unlink", path, errno);
  }

  absl::Status RemoveDirectory(const std::string& path) override {
    return ::rmdir(path.c_str()) == 0 ? absl::OkStatus() : PosixError("rmdir", path, errno);
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    return PosixError("rename", absl::StrCat(from, " to ", to), errno);
  }

  absl::Status Link(const std::string& from, const std::string& to) override {
    if (::link(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    return PosixError("link", absl::StrCat(from, " to ", to), errno);
  }

  absl::StatusOr<bool> Exists(const std::string& path) override {
    const absl::StatusOr<struct stat> info = Stat(path);
    if (absl::IsNotFound(info.status())) return false;
    TESSERA_RETURN_IF_ERROR(info.status());
    return true;
  }

  absl::StatusOr<bool> IsDirectory(const std::string& path) override {
    const absl::StatusOr<struct stat> info = Stat(path);
    if (absl::IsNotFound(info.status())) return false;
    TESSERA_RETURN_IF_ERROR(info.status());
    return S_ISDIR(info->st_mode);
  }

  absl::StatusOr<uint64_t> FileSize(const std::string& path) override {
    TESSERA_ASSIGN_OR_RETURN(const struct stat info, Stat(path));
    return static_cast<uint64_t>(info.st_size);
  }

  absl::StatusOr<uint64_t> ModifiedSeconds(const std::string& path) override {
    TESSERA_ASSIGN_OR_RETURN(const struct stat info, Stat(path));
    return static_cast<uint64_t>(std::max<time_t>(info.st_mtime, 0));
  }

  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override {
    struct statvfs info{};
    if (RetryOnInterrupt([&] { return ::statvfs(path.c_str(), &info); }) != 0) {
      return PosixError("statvfs", path, errno);
    }
    return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
  }

  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    return LockFile(path, O_RDWR | O_CREAT, LOCK_EX);
  }

  absl::StatusOr<std::unique_ptr<FileLock>> LockShared(const std::string& path) override {
    return LockFile(path, O_RDONLY, LOCK_SH);
  }

 private:
  static absl::StatusOr<std::unique_ptr<FileLock>> LockFile(const std::string& path, int flags,
                                                            int kind) {
    TESSERA_ASSIGN_OR_RETURN(Descriptor fd, OpenDescriptor(path, flags));
    struct stat info{};
    if (::fstat(fd.get(), &info) != 0) return PosixError("fstat", path, errno);
    const LockRegistry::Key key(info.st_dev, info.st_ino);
    if (!LockRegistry::Get().Insert(key, kind == LOCK_SH)) {
      return absl::FailedPreconditionError(
          absl::StrCat("lock ", path, ": already held in this process"));
    }
    if (RetryOnInterrupt([&] { return ::flock(fd.get(), kind | LOCK_NB); }) != 0) {
      const int error = errno;
      LockRegistry::Get().Erase(key);
      if (error == EWOULDBLOCK) {
        return absl::FailedPreconditionError(
            absl::StrCat("lock ", path, ": held by another process"));
      }
      return PosixError("flock", path, error);
    }
    return std::make_unique<PosixFileLock>(std::move(fd), key);
  }
};

}  // namespace

FileSystem& PosixFileSystem() {
  static PosixFs fs;
  return fs;
}

}  // namespace tessera::base
