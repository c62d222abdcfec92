// Append-only files of extents: immutable, checksummed byte ranges. Whoever needs an extent keeps
// its ExtentRef; the manifest does for lists and blobs.
//
// A file (format: storage/FORMAT.md) begins with a header block of kExtentFileHeaderBytes; extents
// follow at the alignment asked for, with zeros between them and up to the end of the last 4 KiB.
// A file is written by one ExtentWriter, once; its number is never used again.
//
// Threads: ExtentStore from any thread; an ExtentWriter from one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/files/file_system.h"
#include "base/mutex.h"

namespace tessera::storage {

// Part of the format.
inline constexpr size_t kExtentFileHeaderBytes = 4096;
inline constexpr size_t kPlaneAlignment = 512;
inline constexpr size_t kListAlignment = 4096;
inline constexpr uint32_t kExtentFormatVersion = 1;

// Where bytes are, and their checksum. bytes == 0: nothing is there, the other fields are 0.
struct ExtentRef {
  uint32_t file = 0;  // 1 .. UINT32_MAX
  uint64_t offset = 0;
  uint32_t bytes = 0;
  uint32_t crc = 0;  // crc32c
  friend bool operator==(const ExtentRef&, const ExtentRef&) = default;
};

struct ByteRange {
  uint32_t file = 0;
  uint64_t offset = 0;
  uint32_t bytes = 0;
  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

struct ExtentStoreOptions {
  // A writer begins another file when the next extent would make one larger; a single larger
  // extent gets a file of its own.
  uint64_t file_bytes_max = uint64_t{1} << 30;
  // Files kept open between reads; more are open while somebody holds them.
  size_t open_files_max = 256;
  // Reads by OpenFile's callers bypass the kernel's page cache.
  bool direct_io = true;
  // The directory is neither created nor changed: no writers, no removals.
  bool read_only = false;
};

// Whether a file of that name is one of a store's.
bool IsExtentFileName(std::string_view name);

class ExtentStore;

// Writes extents to new files. Until it is destroyed no RemoveUnreferenced touches its files, so it
// is kept until what it wrote is published.
class ExtentWriter {
 public:
  // Removes its files (as far as possible) unless Keep was called. Pinned ones can be read on.
  ~ExtentWriter();
  ExtentWriter(const ExtentWriter&) = delete;
  ExtentWriter& operator=(const ExtentWriter&) = delete;

  // Appends `data` at the next multiple of `alignment` (kPlaneAlignment or kListAlignment).
  //
  // Errors: kInvalidArgument when data is empty or longer than 4 GiB - 1; those of the file system
  //         (kResourceExhausted: no space), after which every call answers the same.
  // Cost:   one crc32c pass; small appends are gathered to 1 MiB writes.
  absl::StatusOr<ExtentRef> Append(std::span<const std::byte> data, size_t alignment);

  // Makes everything appended survive a power cut: fdatasync of each file, then the directory.
  // Nothing may be published before. Appending afterwards is a bug.
  absl::Status Finish();

  // Leaves the files to the store: what they hold is published, or it is not known whether it is.
  // Pre: Finish succeeded.
  void Keep();

  // The files written so far, ascending.
  std::vector<uint32_t> files() const;
  // Size of these files.
  uint64_t file_bytes() const;

 private:
  friend class ExtentStore;
  struct OpenFile;
  explicit ExtentWriter(ExtentStore& store) : store_(store) {}

  absl::Status StartFile();
  absl::Status PadTo(size_t alignment);
  absl::Status Write(std::span<const std::byte> data);
  absl::Status WriteBuffer();
  absl::Status CloseFile();
  absl::StatusOr<ExtentRef> AppendUnchecked(std::span<const std::byte> data, size_t alignment);

  ExtentStore& store_;
  std::vector<std::pair<uint32_t, uint64_t>> files_;  // number, bytes (with those in buffer_)
  std::unique_ptr<base::WritableFile> file_;
  std::vector<std::byte> buffer_;
  absl::Status failed_;
  bool finished_ = false;
  bool kept_ = false;
};

// Keeps files readable through ExtentStore::OpenFile after they were removed.
class ExtentPin {
 public:
  ExtentPin() = default;
  ~ExtentPin() { Release(); }
  ExtentPin(const ExtentPin&) = delete;
  ExtentPin& operator=(const ExtentPin&) = delete;
  ExtentPin(ExtentPin&& other) noexcept
      : store_(std::exchange(other.store_, nullptr)), files_(std::move(other.files_)) {}
  ExtentPin& operator=(ExtentPin&& other) noexcept {
    std::swap(store_, other.store_);
    std::swap(files_, other.files_);
    return *this;
  }

 private:
  friend class ExtentStore;
  ExtentPin(ExtentStore& store, std::set<uint32_t> files)
      : store_(&store), files_(std::move(files)) {}
  void Release();

  ExtentStore* store_ = nullptr;
  std::set<uint32_t> files_;
};

class ExtentStore {
 public:
  // Opens or creates the directory. New files are numbered from the larger of `next_file` and one
  // more than the largest number found, so nothing that exists is ever overwritten.
  //
  // Errors: kInvalidArgument if an option is out of range; those of the file system. A directory
  //         that is only read may be missing.
  static absl::StatusOr<std::unique_ptr<ExtentStore>> Open(base::FileSystem& fs,
                                                           const std::string& dir,
                                                           uint32_t next_file,
                                                           const ExtentStoreOptions& options = {});
  ~ExtentStore() = default;
  ExtentStore(const ExtentStore&) = delete;
  ExtentStore& operator=(const ExtentStore&) = delete;

  // Pre: the store is not open for reading only.
  std::unique_ptr<ExtentWriter> NewWriter();

  // That the files are there and not shorter than what is published of them, without reading them.
  // `file_ends`: file -> end of its last published extent.
  //
  // Errors: kDataLoss naming the first file that is missing or too short.
  absl::Status CheckPresent(const std::map<uint32_t, uint64_t>& file_ends) const;

  // The file for reads, its header checked.
  //
  // Errors: kNotFound; kDataLoss for a damaged header; kUnimplemented for a newer format.
  absl::StatusOr<std::shared_ptr<const base::RandomAccessFile>> OpenFile(uint32_t file);

  // Reads and checks one whole extent; for blobs, not for the search path.
  //
  // Errors: kDataLoss when the file is missing, too short or the checksum differs.
  absl::StatusOr<std::string> Read(const ExtentRef& ref);

  // Until the pin is gone, OpenFile answers for these files also when they have been removed: what
  // was published before can be read on. Their space is given back after that.
  //
  // Pre:  the files exist and none of them is being removed; the store outlives the pin.
  // Cost: O(files log files), no I/O. A removed file that is pinned takes a file descriptor.
  ExtentPin Pin(std::set<uint32_t> files);

  // Removes every extent file that is neither in `live_files` nor a living writer's, and makes the
  // removal durable. Whoever has pinned such a file or holds it open can go on reading it.
  //
  // Pre: `live_files` has the published files of every writer destroyed by now, so the caller keeps
  //      writers from being destroyed between taking the set and this call's return. The store is
  //      not open for reading only.
  absl::Status RemoveUnreferenced(const std::set<uint32_t>& live_files);

  // Bytes of all finished files that were not removed.
  uint64_t disk_bytes() const;
  // The number the next file gets; to be stored with what is published.
  uint32_t next_file() const;

  std::string FilePath(uint32_t file) const;

 private:
  friend class ExtentPin;
  friend class ExtentWriter;
  struct Pinned {
    uint64_t pins = 0;
    std::shared_ptr<const base::RandomAccessFile> removed;  // null while it is in the directory
  };
  struct CachedFile {
    std::shared_ptr<const base::RandomAccessFile> file;
    uint64_t used_at = 0;
  };

  ExtentStore(base::FileSystem& fs, std::string dir, const ExtentStoreOptions& options)
      : fs_(fs), dir_(std::move(dir)), options_(options) {}

  absl::Status LoadFileList(uint32_t next_file);
  absl::StatusOr<uint32_t> TakeFileNumber();
  void Unpin(const std::set<uint32_t>& files);
  absl::Status KeepIfPinned(uint32_t file);
  void FilesFinished(const std::vector<std::pair<uint32_t, uint64_t>>& files);
  // A writer ends: removes its files unless they are kept.
  void FilesReleased(const std::vector<std::pair<uint32_t, uint64_t>>& files, bool kept);

  base::FileSystem& fs_;
  const std::string dir_;
  const ExtentStoreOptions options_;

  mutable base::Mutex mu_;
  uint32_t next_file_ ABSL_GUARDED_BY(mu_) = 1;
  std::map<uint32_t, uint64_t> files_ ABSL_GUARDED_BY(mu_);  // finished: number -> bytes
  std::set<uint32_t> writers_files_ ABSL_GUARDED_BY(mu_);    // of living writers
  std::map<uint32_t, Pinned> pinned_ ABSL_GUARDED_BY(mu_);
  std::map<uint32_t, CachedFile> open_files_ ABSL_GUARDED_BY(mu_);
  uint64_t open_clock_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace tessera::storage
