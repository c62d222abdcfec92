// An open RocksDB with all that it stands on, shared by the store, its snapshots, iterators and
// bulk writers.
//
// Private to storage/. Threads: the members do not change after Open.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/files/file_system.h"
#include "base/mutex.h"
#include "storage/rocks/rocks_disk.h"
#include "storage/rocks/sync_ledger.h"
#include "storage/row_store.h"

namespace rocksdb {
class Cache;
class ColumnFamilyHandle;
class DB;
class Env;
class FileSystem;
class Status;
class WriteBufferManager;
struct Options;
}  // namespace rocksdb

namespace tessera::storage {

class RocksErrors;

// A RocksDB that has stopped taking writes is not resumed: its own recovery can hang, and can
// append to a log that has failed, which aborts in Debian's build. Another one takes its place, see
// RowStore::Recover.
struct RocksDb {
  RocksDb(base::FileSystem& file_system, std::string directory);
  ~RocksDb();
  RocksDb(const RocksDb&) = delete;
  RocksDb& operator=(const RocksDb&) = delete;

  // `failed`: the one whose place it takes, after Retire; null if there is none.
  absl::Status Open(const RowStoreOptions& options, const RocksDb* failed = nullptr);
  // Without changing anything on the disk; Write is refused then.
  absl::Status OpenForReading(const RowStoreOptions& options);
  bool reads_only() const { return ledger == nullptr; }
  // Nothing is written after this: notes in the ledger what the next open has to find.
  absl::Status NoteClosed();
  rocksdb::ColumnFamilyHandle* table(Table which) const {
    return tables[static_cast<size_t>(which)];
  }
  // Runs an action that may write. Once it has stopped, the answer is failure().
  absl::Status Write(std::string_view what, absl::FunctionRef<rocksdb::Status()> action);
  // Makes every write so far durable.
  absl::Status SyncLog();
  absl::Status Flush();
  // Waits while the write buffers are full.
  absl::Status ReserveWriteBuffer();
  // Settings for table files of one table, as the store itself writes them.
  rocksdb::Options TableFileOptions(Table which) const;

  // What has stopped it; OK if nothing has.
  absl::Status failure() const;
  // Space that opening the directory anew takes at most: the rows of the logs go to table files.
  absl::StatusOr<uint64_t> ReopenBytes() const;
  // Waits for writes under way and leaves the directory, with what they have made visible, to
  // another RocksDB; reads go on.
  //
  // Errors: failure(), if it is not one that passes.
  absl::Status Retire();

  base::FileSystem& fs;
  const std::string dir;
  std::shared_ptr<base::FileLock> lock;  // released last; null if it could not be had for reading
  std::shared_ptr<SyncLedger> ledger;    // null: open for reading only
  RocksDisk disk;
  std::shared_ptr<RocksErrors> errors;
  std::shared_ptr<rocksdb::FileSystem> rocks_fs;
  std::unique_ptr<rocksdb::Env> env;
  std::shared_ptr<rocksdb::Cache> cache;
  std::shared_ptr<rocksdb::WriteBufferManager> write_buffers;
  std::unique_ptr<rocksdb::Options> settings;  // of the whole store; tables differ in compression
  std::unique_ptr<rocksdb::DB> db;
  std::array<rocksdb::ColumnFamilyHandle*, kTableCount> tables{};
  rocksdb::ColumnFamilyHandle* unused = nullptr;  // the column family every RocksDB has
  uint64_t write_buffer_bytes_max = 0;
  std::atomic<uint64_t> next_bulk{1};

 private:
  void SetUp(const RowStoreOptions& options);
  // Opens RocksDB itself and compares what it has with what the ledger has.
  absl::Status OpenRocks(uint64_t sequence);
  absl::Status FlushLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(flush_mu_);

  std::shared_mutex writing_mu_;  // held exclusively to retire
  base::Mutex flush_mu_;          // held by the one that flushes
};

// Where bulk writers keep table files until they are taken over.
std::string BulkDirectory(const RocksDb& db);

}  // namespace tessera::storage
