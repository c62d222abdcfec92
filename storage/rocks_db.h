// An open RocksDB with all that it stands on, shared by the store, its snapshots, iterators and
// bulk writers.
//
// Private to storage/. Threads: the members do not change after Open.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"

#include "base/file_system.h"
#include "base/mutex.h"
#include "storage/row_store.h"
#include "storage/wal_tracker.h"

namespace rocksdb {
class Cache;
class ColumnFamilyHandle;
class DB;
class Env;
class FileSystem;
class WriteBufferManager;
struct Options;
}  // namespace rocksdb

namespace tessera::storage {

struct RocksDb {
  RocksDb(base::FileSystem& file_system, std::string directory);
  ~RocksDb();
  RocksDb(const RocksDb&) = delete;
  RocksDb& operator=(const RocksDb&) = delete;

  absl::Status Open(const RowStoreOptions& options);
  rocksdb::ColumnFamilyHandle* table(Table which) const {
    return tables[static_cast<size_t>(which)];
  }
  absl::Status Flush();
  // Waits while the write buffers are full.
  absl::Status ReserveWriteBuffer();
  // Settings for table files of one table, as the store itself writes them.
  rocksdb::Options TableFileOptions(Table which) const;

  base::FileSystem& fs;
  const std::string dir;
  std::unique_ptr<base::FileLock> lock;  // released last
  WalTracker wals;
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
  base::Mutex flush_mu;  // held by the one writer that flushes for all
};

// Where bulk writers keep table files until they are taken over.
std::string BulkDirectory(const RocksDb& db);

}  // namespace tessera::storage
