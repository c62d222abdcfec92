// The truth of everything but vectors in lists: sorted tables of (key, value) byte strings with
// atomic writes across tables, snapshots, and bulk loading. Keys sort as bytes.
//
// Damage: bytes that were made durable and have changed since are kDataLoss, at Open when they are
// in a log and at the read when they are in a table. What was never made durable may be lost in a
// power cut, but only as a whole suffix of the writes.
//
// Threads: every call from any thread at once; a RowIterator, WriteSet and BulkWriter belong to
// one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/files/file_system.h"
#include "base/mutex.h"

namespace tessera::storage {

class BulkWriter;
struct RocksDb;

// On disk by name and number: never renumber.
enum class Table : uint8_t {
  kCatalog = 0,
  kPoints = 1,
  kIds = 2,
  kFresh = 3,
  kLocations = 4,
  kManifest = 5,
};
inline constexpr size_t kTableCount = 6;

// Smaller settings make RocksDB fail under ordinary load.
inline constexpr uint64_t kBlockCacheBytesMin = uint64_t{2} << 20;
inline constexpr uint64_t kWriteBufferBytesMin = uint64_t{1} << 20;
// Table files beyond these are closed and opened again as they are read.
inline constexpr uint64_t kOpenTableFilesMax = 512;
inline constexpr uint64_t kOpenTableFileBytes = uint64_t{16} << 10;
// Logs are as long as this many times the write buffers.
inline constexpr uint64_t kLogBytesPerWriteBuffer = 4;
inline constexpr size_t kKeyBytesMax = size_t{64} << 10;

// Changes that are applied together or not at all.
class WriteSet {
 public:
  void Put(Table table, std::string_view key, std::string_view value);
  void Delete(Table table, std::string_view key);

  size_t bytes() const { return operations_.size(); }
  bool empty() const { return operations_.empty(); }
  void Clear() { operations_.clear(); }

 private:
  friend class RowStore;
  std::string operations_;  // per change: kind, table, key, value or end, with varint lengths
};

enum class Durability {
  kSynced,    // survives a power cut; concurrent writers share one fdatasync
  kBuffered,  // survives kill -9; a later synced write makes it durable too
};

// On top of both come up to kOpenTableFileBytes per open table file.
struct RowStoreOptions {
  // Blocks, table indexes and filters, and the accounting of the write buffers, which are charged
  // here as well. A read that finds the cache full of what others hold is kResourceExhausted.
  uint64_t block_cache_bytes = uint64_t{32} << 20;
  // Rows in memory that are not yet in a table file, all tables together.
  uint64_t write_buffer_bytes = uint64_t{16} << 20;
  // Nothing is written, not one byte, and no lock is needed: every change is refused. Takes memory
  // for the rows of the logs besides, up to kLogBytesPerWriteBuffer times write_buffer_bytes.
  bool read_only = false;
};

// What reads see while it lives, whatever is written since. Keeps the store's files alive, and, if
// the store has had to recover from an error since, the write buffers and block cache of that time.
class RowSnapshot {
 public:
  RowSnapshot(std::shared_ptr<RocksDb> db, const void* handle);
  ~RowSnapshot();
  RowSnapshot(const RowSnapshot&) = delete;
  RowSnapshot& operator=(const RowSnapshot&) = delete;

 private:
  friend class RowStore;
  const std::shared_ptr<RocksDb> db_;
  const void* const handle_;
};

// The rows whose key begins with a prefix, in key order; starts at the first one.
class RowIterator {
 public:
  virtual ~RowIterator() = default;
  // False at the end and after an error: see status().
  virtual bool Valid() const = 0;
  // To the first key >= `key` that has the prefix.
  virtual void Seek(std::string_view key) = 0;
  // Pre: Valid().
  virtual void Next() = 0;
  // Pre: Valid(). Views until the next move.
  virtual std::string_view key() const = 0;
  virtual std::string_view value() const = 0;
  virtual absl::Status status() const = 0;
};

class RowStore {
 public:
  // Opens or creates the store in `dir`, whose parent exists. `fs` must outlive the store and its
  // snapshots and iterators.
  //
  // Errors: kInvalidArgument for options out of range; kDataLoss if something that was durable is
  //         damaged or missing, nothing is removed then; kUnimplemented for a store with tables
  //         this version does not know; kFailedPrecondition if it is open already;
  //         kResourceExhausted for no space; kPermissionDenied; kNotFound, if nothing may be
  //         written and there is no store.
  // Cost:   replays at most a few write buffers of logs.
  static absl::StatusOr<std::unique_ptr<RowStore>> Open(base::FileSystem& fs,
                                                        const std::string& dir,
                                                        const RowStoreOptions& options);
  // Whether `dir` holds a store; one whose creation was cut short is none. kDataLoss if there is
  // none, but there was.
  static absl::StatusOr<bool> Exists(base::FileSystem& fs, const std::string& dir);
  ~RowStore();
  RowStore(const RowStore&) = delete;
  RowStore& operator=(const RowStore&) = delete;

  // Applies `changes` atomically; every later read sees them.
  //
  // Errors: kInvalidArgument for a key longer than kKeyBytesMax; kFailedPrecondition if the store
  //         is open for reading only; kResourceExhausted for no space;
  //         kInternal or kDataLoss for other I/O errors. After an error of the file system nothing
  //         is visible, but the changes may be found, whole, when the store is opened again. Later
  //         writes fail as well; once there is space again, a little more than the rows that are
  //         not in table files yet take, the next one puts things right (at the cost of an Open).
  //         After other errors than no space the store has to be opened again. Reads go on.
  absl::Status Write(const WriteSet& changes, Durability durability);

  // `snapshot` null: the latest. nullopt when there is no such key.
  absl::StatusOr<std::optional<std::string>> Get(Table table, std::string_view key,
                                                 const RowSnapshot* snapshot = nullptr) const;
  // In the order of `keys`; all of one state.
  absl::StatusOr<std::vector<std::optional<std::string>>> MultiGet(
      Table table, std::span<const std::string> keys, const RowSnapshot* snapshot = nullptr) const;
  // May outlive `snapshot`.
  std::unique_ptr<RowIterator> NewIterator(Table table, std::string_view prefix,
                                           const RowSnapshot* snapshot = nullptr) const;
  std::shared_ptr<const RowSnapshot> Snapshot() const;

  absl::StatusOr<std::unique_ptr<BulkWriter>> NewBulkWriter();

  // Makes every write so far durable.
  absl::Status SyncLog();
  // Moves the write buffers into table files, so that opening has nothing to replay.
  absl::Status Flush();

  // Write buffers, block cache and open table files; no more than the options and
  // kOpenTableFileBytes say.
  uint64_t memory_bytes() const;

 private:
  RowStore(std::shared_ptr<RocksDb> db, const RowStoreOptions& options);

  std::shared_ptr<RocksDb> db() const;
  // The one to write to: another one if the last has failed.
  absl::StatusOr<std::shared_ptr<RocksDb>> WritableDb();
  absl::Status Recover(const std::shared_ptr<RocksDb>& failed);

  const RowStoreOptions options_;
  base::Mutex recover_mu_;
  mutable base::Mutex mu_;
  // Those that were replaced live on in snapshots, iterators and bulk writers.
  std::shared_ptr<RocksDb> db_ ABSL_GUARDED_BY(mu_);
};

}  // namespace tessera::storage
