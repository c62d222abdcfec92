#include "storage/rocks/rocks_db.h"

#include <algorithm>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "rocksdb/cache.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "rocksdb/filter_policy.h"
#include "rocksdb/listener.h"
#include "rocksdb/options.h"
#include "rocksdb/status.h"
#include "rocksdb/table.h"
#include "rocksdb/write_batch.h"
#include "rocksdb/write_buffer_manager.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "storage/directory.h"
#include "storage/rocks/rocks_file_system.h"
#include "storage/rocks/rocks_status.h"
#include "storage/rocks/row_store_check.h"
#include "storage/rocks/wal_check.h"

namespace tessera::storage {
namespace {

constexpr std::array<std::string_view, kTableCount> kTableNames = {
    "catalog", "points", "ids", "fresh", "locations", "manifest"};

// What an open writes besides rows: a manifest, names, an empty log.
constexpr uint64_t kReopenBytes = uint64_t{256} << 10;

// RocksDB's running commentary; what goes wrong is in the statuses.
class SilentLogger : public rocksdb::Logger {
 public:
  SilentLogger() : rocksdb::Logger(rocksdb::InfoLogLevel::FATAL_LEVEL) {}
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

}  // namespace

// Remembers the first error that stops RocksDB from taking writes, and keeps it from recovering.
class RocksErrors : public rocksdb::EventListener {
 public:
  rocksdb::Status first() const {
    const base::MutexLock lock(&mu_);
    return first_;
  }

  const char* Name() const override { return "TesseraErrors"; }
  void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status* error) override {
    const base::MutexLock lock(&mu_);
    if (first_.ok() && Stops(*error)) {
      first_ = *error;
    }
  }
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status error,
                            bool* auto_recovery) override {
    *auto_recovery = *auto_recovery && !Stops(error);
  }

 private:
  static bool Stops(const rocksdb::Status& error) {
    return error.severity() >= rocksdb::Status::Severity::kHardError;
  }

  mutable base::Mutex mu_;
  rocksdb::Status first_ ABSL_GUARDED_BY(mu_);
};

namespace {

std::shared_ptr<rocksdb::TableFactory> NewTableFactory(std::shared_ptr<rocksdb::Cache> cache) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = std::move(cache);
  table.block_size = size_t{8} << 10;
  table.format_version = 5;
  table.checksum = rocksdb::kCRC32c;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  // Everything that grows with the data is in the cache, in pieces that can be evicted.
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
  table.partition_filters = true;
  table.metadata_block_size = size_t{8} << 10;
  return std::shared_ptr<rocksdb::TableFactory>(rocksdb::NewBlockBasedTableFactory(table));
}

void SetLimits(const RowStoreOptions& options, rocksdb::Options* settings) {
  settings->max_open_files = static_cast<int>(kOpenTableFilesMax);
  settings->max_background_jobs = 2;
  settings->max_subcompactions = 1;
  settings->max_file_opening_threads = 1;
  settings->db_write_buffer_size = 0;  // the manager has the limit
  settings->write_buffer_size = std::max<uint64_t>(options.write_buffer_bytes / 4, 1 << 19);
  settings->max_write_buffer_number = 4;
  settings->target_file_size_base = uint64_t{32} << 20;
  settings->max_bytes_for_level_base = uint64_t{128} << 20;
  settings->level_compaction_dynamic_level_bytes = true;
  // Bounds what an open has to replay, also when one table is written rarely.
  settings->max_total_wal_size = kLogBytesPerWriteBuffer * options.write_buffer_bytes;
  settings->max_manifest_file_size = uint64_t{16} << 20;
}

}  // namespace

RocksDb::RocksDb(base::FileSystem& file_system, std::string directory)
    : fs(file_system),
      dir(std::move(directory)),
      disk(file_system, dir),
      errors(std::make_shared<RocksErrors>()) {}

RocksDb::~RocksDb() {
  if (db == nullptr) return;
  for (rocksdb::ColumnFamilyHandle* handle : tables) {
    if (handle != nullptr) static_cast<void>(db->DestroyColumnFamilyHandle(handle));
  }
  if (unused != nullptr) static_cast<void>(db->DestroyColumnFamilyHandle(unused));
  static_cast<void>(db->Close());
}

rocksdb::Options RocksDb::TableFileOptions(Table which) const {
  rocksdb::Options result = *settings;
  // Fresh rows are raw vectors, which do not compress.
  result.compression = which == Table::kFresh ? rocksdb::kNoCompression : rocksdb::kLZ4Compression;
  return result;
}

absl::Status RocksDb::Open(const RowStoreOptions& options, const RocksDb* failed) {
  TESSERA_RETURN_IF_ERROR(CreateDurableDirectory(fs, dir));
  LedgerState known;
  if (failed == nullptr) {
    TESSERA_ASSIGN_OR_RETURN(lock, fs.Lock(base::JoinPath(dir, "LOCK")));
    TESSERA_ASSIGN_OR_RETURN(known, ReadLedger(fs, LedgerPath(dir)));
  } else {
    lock = failed->lock;
    next_bulk = failed->next_bulk.load();  // its writers' directories must not be used again
    known = failed->ledger->state();
  }
  TESSERA_ASSIGN_OR_RETURN(const RowStoreFindings found, ExamineRowStore(fs, dir, known));
  // From here on the directory is known to have everything. The ledger comes first: RocksDB's first
  // change must find it.
  const uint64_t sequence = known.sequence;
  TESSERA_ASSIGN_OR_RETURN(ledger, SyncLedger::Create(fs, LedgerPath(dir), std::move(known)));
  TESSERA_RETURN_IF_ERROR(MendLogs(fs, dir, found.logs));
  for (const LogVerdict& log : found.logs) {
    if (log.kept) ledger->LogsSynced(std::span(&log.whole, 1));
  }
  disk.Begin(ledger.get(), found.logs);
  SetUp(options);
  TESSERA_RETURN_IF_ERROR(OpenRocks(sequence));
  disk.Release();
  return base::RemoveTree(fs, BulkDirectory(*this));
}

absl::Status RocksDb::OpenForReading(const RowStoreOptions& options) {
  // With the lock, if there is one to be had: a writer would remove files that are read.
  absl::StatusOr<std::unique_ptr<base::FileLock>> shared =
      fs.LockShared(base::JoinPath(dir, "LOCK"));
  if (absl::IsFailedPrecondition(shared.status())) return shared.status();
  if (shared.ok()) lock = *std::move(shared);
  TESSERA_ASSIGN_OR_RETURN(const LedgerState known, ReadLedger(fs, LedgerPath(dir)));
  TESSERA_ASSIGN_OR_RETURN(const RowStoreFindings found, ExamineRowStore(fs, dir, known));
  if (!found.manifest.has_value()) {
    return absl::NotFoundError(absl::StrCat("there is no row store in ", dir));
  }
  disk.Begin(nullptr, found.logs);
  SetUp(options);
  return OpenRocks(known.sequence);
}

void RocksDb::SetUp(const RowStoreOptions& options) {
  rocks_fs = NewRocksFileSystem(disk);
  env = rocksdb::NewCompositeEnv(rocks_fs);
  rocksdb::LRUCacheOptions cache_options;
  cache_options.capacity = options.block_cache_bytes + options.write_buffer_bytes;
  cache_options.strict_capacity_limit = true;
  // The limit is per shard: few of them, so that one is not full while the others are empty.
  cache_options.num_shard_bits = cache_options.capacity >= (uint64_t{64} << 20) ? 2 : 0;
  cache = rocksdb::NewLRUCache(cache_options);
  // Flushing begins at half of the limit; at the limit writers wait for it, see ReserveWriteBuffer.
  // One that only reads cannot flush what it replays: that is not charged to the cache, whose
  // strict limit it could fill.
  write_buffer_bytes_max = options.write_buffer_bytes;
  write_buffers = std::make_shared<rocksdb::WriteBufferManager>(options.write_buffer_bytes / 2,
                                                                reads_only() ? nullptr : cache);

  settings = std::make_unique<rocksdb::Options>();
  settings->env = env.get();
  settings->create_if_missing = !reads_only();
  settings->create_missing_column_families = !reads_only();
  settings->paranoid_checks = true;
  settings->listeners.push_back(errors);
  settings->max_bgerror_resume_count = 0;  // no recovery of its own
  settings->info_log = std::make_shared<SilentLogger>();
  settings->stats_dump_period_sec = 0;
  settings->stats_persist_period_sec = 0;
  settings->skip_stats_update_on_db_open = true;
  settings->write_buffer_manager = write_buffers;
  settings->table_factory = NewTableFactory(cache);
  // See wal_check.h: the logs are whole by now.
  settings->wal_recovery_mode = rocksdb::WALRecoveryMode::kAbsoluteConsistency;
  settings->track_and_verify_wals_in_manifest = true;
  SetLimits(options, settings.get());
}

absl::Status RocksDb::OpenRocks(uint64_t sequence) {
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  families.emplace_back(rocksdb::kDefaultColumnFamilyName, *settings);
  for (size_t i = 0; i < kTableCount; ++i) {
    families.emplace_back(std::string(kTableNames[i]), TableFileOptions(static_cast<Table>(i)));
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status =
      reads_only() ? rocksdb::DB::OpenForReadOnly(*settings, dir, families, &handles, &opened)
                   : rocksdb::DB::Open(*settings, dir, families, &handles, &opened);
  absl::Status result = FromRocks(status, absl::StrCat("opening the row store in ", dir));
  // CURRENT is there: what is missing now is a file that the store needs.
  if (absl::IsNotFound(result)) result = absl::DataLossError(result.message());
  TESSERA_RETURN_IF_ERROR(result);
  db.reset(opened);
  unused = handles[0];
  std::copy(handles.begin() + 1, handles.end(), tables.begin());
  if (db->GetLatestSequenceNumber() >= sequence) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the row store in ", dir, " ends with write ",
                                          db->GetLatestSequenceNumber(), ", but had write ",
                                          sequence, " when it was closed"));
}

absl::Status RocksDb::failure() const {
  return FromRocks(errors->first(), "the row store has stopped after an error");
}

absl::Status RocksDb::Write(std::string_view what, absl::FunctionRef<rocksdb::Status()> action) {
  const std::shared_lock<std::shared_mutex> writing(writing_mu_);
  TESSERA_RETURN_IF_ERROR(failure());
  return FromRocks(action(), what);
}

absl::StatusOr<uint64_t> RocksDb::ReopenBytes() const {
  uint64_t bytes = 0;
  TESSERA_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(dir));
  for (const std::string& name : names) {
    if (!name.ends_with(".log")) continue;
    const absl::StatusOr<uint64_t> log_bytes = fs.FileSize(base::JoinPath(dir, name));
    if (absl::IsNotFound(log_bytes.status())) continue;  // removed meanwhile
    TESSERA_RETURN_IF_ERROR(log_bytes.status());
    bytes += *log_bytes;
  }
  // What is in table files already stays in the logs for a while.
  return kReopenBytes + std::min(bytes, write_buffer_bytes_max);
}

absl::Status RocksDb::Retire() {
  const std::unique_lock<std::shared_mutex> retiring(writing_mu_);
  const absl::Status status = failure();
  if (!absl::IsResourceExhausted(status) || disk.wals().lost()) {
    return absl::Status(status.code(),
                        absl::StrCat(status.message(), "; it has to be opened again"));
  }
  disk.Fence();
  return CutLogsBehind(fs, dir, db->GetLatestSequenceNumber(),
                       [&](const WalPosition& log) { return ledger->LogCut(log.log, log.bytes); });
}

absl::Status RocksDb::NoteClosed() {
  return ledger->Closed(db->GetLatestSequenceNumber());
}

absl::Status RocksDb::SyncLog() {
  rocksdb::WriteBatch batch;
  TESSERA_RETURN_IF_ERROR(
      FromRocks(batch.PutLogData(EncodeWatermark(disk.wals().durable())), "marking a write"));
  rocksdb::WriteOptions options;
  options.sync = true;
  return Write("syncing the log", [&] { return db->Write(options, &batch); });
}

absl::Status RocksDb::Flush() {
  const base::MutexLock flushing(&flush_mu_);
  return FlushLocked();
}

// One at a time: closing the same write buffer again after an error aborts in Debian's build.
absl::Status RocksDb::FlushLocked() {
  const std::vector<rocksdb::ColumnFamilyHandle*> all(tables.begin(), tables.end());
  return Write("flushing the row store", [&] { return db->Flush(rocksdb::FlushOptions(), all); });
}

// RocksDB's own stall on a full write buffer manager waits for a flush that has failed for ever.
absl::Status RocksDb::ReserveWriteBuffer() {
  if (write_buffers->memory_usage() < write_buffer_bytes_max) {
    return absl::OkStatus();
  }
  const base::MutexLock flushing(&flush_mu_);
  return write_buffers->memory_usage() < write_buffer_bytes_max ? absl::OkStatus() : FlushLocked();
}

std::string BulkDirectory(const RocksDb& db) {
  return base::JoinPath(db.dir, "bulk");
}

}  // namespace tessera::storage
