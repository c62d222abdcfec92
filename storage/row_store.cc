#include "storage/row_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "rocksdb/cache.h"
#include "rocksdb/db.h"
#include "rocksdb/options.h"
#include "rocksdb/write_batch.h"

#include "base/check.h"
#include "base/coding/coding.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "storage/bulk_writer.h"
#include "storage/rocks/rocks_db.h"
#include "storage/rocks/rocks_status.h"
#include "storage/rocks/row_store_check.h"
#include "storage/rocks/sync_ledger.h"
#include "storage/rocks/wal_check.h"

namespace tessera::storage {
namespace {

enum class Kind : uint8_t { kPut = 1, kDelete = 2 };

rocksdb::Slice ToSlice(std::string_view bytes) {
  return {bytes.data(), bytes.size()};
}

rocksdb::ReadOptions ReadOptionsAt(const void* snapshot) {
  rocksdb::ReadOptions options;
  options.snapshot = static_cast<const rocksdb::Snapshot*>(snapshot);
  return options;
}

// The smallest key behind every key with `prefix`; empty if there is none.
std::string PrefixEnd(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xff') end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

absl::Status CheckKey(std::string_view key) {
  if (key.size() <= kKeyBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("row key has ", key.size(), " bytes, the limit is ", kKeyBytesMax));
}

// Pre: `operations` was made by a WriteSet.
absl::Status FillBatch(const RocksDb& db, std::string_view operations, rocksdb::WriteBatch* batch) {
  base::Decoder decoder(operations);
  while (decoder.remaining() > 0) {
    uint8_t kind = 0;
    uint8_t table = 0;
    std::string_view key;
    std::string_view value;
    TESSERA_CHECK(decoder.U8(&kind).ok() && decoder.U8(&table).ok());
    TESSERA_CHECK(decoder.Bytes(&key).ok() && decoder.Bytes(&value).ok());
    TESSERA_RETURN_IF_ERROR(CheckKey(key));
    rocksdb::ColumnFamilyHandle* const family = db.table(static_cast<Table>(table));
    rocksdb::Status status;
    switch (static_cast<Kind>(kind)) {
      case Kind::kPut:
        status = batch->Put(family, ToSlice(key), ToSlice(value));
        break;
      case Kind::kDelete:
        status = batch->Delete(family, ToSlice(key));
        break;
    }
    TESSERA_RETURN_IF_ERROR(FromRocks(status, "collecting a write"));
  }
  return absl::OkStatus();
}

class PrefixIterator : public RowIterator {
 public:
  PrefixIterator(std::shared_ptr<RocksDb> db, Table table, std::string_view prefix,
                 const void* snapshot)
      : db_(std::move(db)), prefix_(prefix), end_(PrefixEnd(prefix)), end_slice_(end_) {
    rocksdb::ReadOptions options = ReadOptionsAt(snapshot);
    if (!end_.empty()) options.iterate_upper_bound = &end_slice_;
    iterator_.reset(db_->db->NewIterator(options, db_->table(table)));
    iterator_->Seek(prefix_);
  }

  bool Valid() const override { return iterator_->Valid(); }
  void Seek(std::string_view key) override {
    iterator_->Seek(ToSlice(std::max<std::string_view>(key, prefix_)));
  }
  void Next() override {
    TESSERA_CHECK(Valid());
    iterator_->Next();
  }
  std::string_view key() const override { return iterator_->key().ToStringView(); }
  std::string_view value() const override { return iterator_->value().ToStringView(); }
  absl::Status status() const override {
    return FromRocks(iterator_->status(), "reading rows in order");
  }

 private:
  const std::shared_ptr<RocksDb> db_;
  const std::string prefix_;
  const std::string end_;
  const rocksdb::Slice end_slice_;
  std::unique_ptr<rocksdb::Iterator> iterator_;
};

absl::Status Validate(const RowStoreOptions& options) {
  if (options.block_cache_bytes < kBlockCacheBytesMin) {
    return absl::InvalidArgumentError(absl::StrCat("block_cache_bytes is ",
                                                   options.block_cache_bytes, ", must be at least ",
                                                   kBlockCacheBytesMin));
  }
  if (options.write_buffer_bytes < kWriteBufferBytesMin) {
    return absl::InvalidArgumentError(absl::StrCat("write_buffer_bytes is ",
                                                   options.write_buffer_bytes,
                                                   ", must be at least ", kWriteBufferBytesMin));
  }
  return absl::OkStatus();
}

}  // namespace

void WriteSet::Put(Table table, std::string_view key, std::string_view value) {
  base::PutU8(&operations_, static_cast<uint8_t>(Kind::kPut));
  base::PutU8(&operations_, static_cast<uint8_t>(table));
  base::PutBytes(&operations_, key);
  base::PutBytes(&operations_, value);
}

void WriteSet::Delete(Table table, std::string_view key) {
  base::PutU8(&operations_, static_cast<uint8_t>(Kind::kDelete));
  base::PutU8(&operations_, static_cast<uint8_t>(table));
  base::PutBytes(&operations_, key);
  base::PutBytes(&operations_, {});
}

RowSnapshot::RowSnapshot(std::shared_ptr<RocksDb> db, const void* handle)
    : db_(std::move(db)), handle_(handle) {}

RowSnapshot::~RowSnapshot() {
  db_->db->ReleaseSnapshot(static_cast<const rocksdb::Snapshot*>(handle_));
}

RowStore::RowStore(std::shared_ptr<RocksDb> db, const RowStoreOptions& options)
    : options_(options), db_(std::move(db)) {}

absl::StatusOr<std::unique_ptr<RowStore>> RowStore::Open(base::FileSystem& fs,
                                                         const std::string& dir,
                                                         const RowStoreOptions& options) {
  TESSERA_RETURN_IF_ERROR(Validate(options));
  auto db = std::make_shared<RocksDb>(fs, dir);
  TESSERA_RETURN_IF_ERROR(options.read_only ? db->OpenForReading(options) : db->Open(options));
  return std::unique_ptr<RowStore>(new RowStore(std::move(db), options));
}

absl::StatusOr<bool> RowStore::Exists(base::FileSystem& fs, const std::string& dir) {
  TESSERA_ASSIGN_OR_RETURN(const LedgerState ledger, ReadLedger(fs, LedgerPath(dir)));
  return RowStoreExists(fs, dir, ledger);
}

RowStore::~RowStore() {
  const std::shared_ptr<RocksDb> last = db();
  if (last->reads_only() || !last->failure().ok() || !SyncLog().ok()) return;
  // The second write is the watermark of the first, for the next open to find damage in it, should
  // the ledger be lost.
  static_cast<void>(Write(WriteSet(), Durability::kBuffered));
  static_cast<void>(last->NoteClosed());
}

std::shared_ptr<RocksDb> RowStore::db() const {
  const base::MutexLock lock(&mu_);
  return db_;
}

absl::StatusOr<std::shared_ptr<RocksDb>> RowStore::WritableDb() {
  std::shared_ptr<RocksDb> last = db();
  if (last->reads_only()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the row store in ", last->dir, " is open for reading only"));
  }
  if (last->failure().ok()) {
    return last;
  }
  TESSERA_RETURN_IF_ERROR(Recover(last));
  return db();
}

absl::Status RowStore::Recover(const std::shared_ptr<RocksDb>& failed) {
  const base::MutexLock recovering(&recover_mu_);
  if (db() != failed) {
    return absl::OkStatus();  // somebody else was first
  }
  // Opening needs some space itself, and is not to be tried for every write to a full disk.
  TESSERA_ASSIGN_OR_RETURN(const uint64_t free_bytes, failed->fs.FreeBytes(failed->dir));
  TESSERA_ASSIGN_OR_RETURN(const uint64_t needed_bytes, failed->ReopenBytes());
  if (free_bytes < needed_bytes) {
    const absl::Status failure = failed->failure();
    return absl::Status(failure.code(),
                        absl::StrCat(failure.message(), "; it goes on when the disk has ",
                                     needed_bytes, " bytes free, now it has ", free_bytes));
  }
  TESSERA_RETURN_IF_ERROR(failed->Retire());
  auto next = std::make_shared<RocksDb>(failed->fs, failed->dir);
  TESSERA_RETURN_IF_ERROR(next->Open(options_, failed.get()));
  const base::MutexLock lock(&mu_);
  db_ = std::move(next);
  return absl::OkStatus();
}

absl::Status RowStore::Write(const WriteSet& changes, Durability durability) {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<RocksDb> db, WritableDb());
  rocksdb::WriteBatch batch(changes.bytes() + 64);
  TESSERA_RETURN_IF_ERROR(
      FromRocks(batch.PutLogData(EncodeWatermark(db->disk.wals().durable())), "marking a write"));
  TESSERA_RETURN_IF_ERROR(FillBatch(*db, changes.operations_, &batch));
  TESSERA_RETURN_IF_ERROR(db->ReserveWriteBuffer());
  rocksdb::WriteOptions options;
  options.sync = durability == Durability::kSynced;
  return db->Write("writing rows", [&] { return db->db->Write(options, &batch); });
}

absl::StatusOr<std::optional<std::string>> RowStore::Get(Table table, std::string_view key,
                                                         const RowSnapshot* snapshot) const {
  const std::shared_ptr<RocksDb> db = snapshot == nullptr ? this->db() : snapshot->db_;
  std::string value;
  const rocksdb::Status status =
      db->db->Get(ReadOptionsAt(snapshot == nullptr ? nullptr : snapshot->handle_),
                  db->table(table), ToSlice(key), &value);
  if (status.IsNotFound()) {
    return std::nullopt;
  }
  TESSERA_RETURN_IF_ERROR(FromRocks(status, "reading a row"));
  return value;
}

absl::StatusOr<std::vector<std::optional<std::string>>> RowStore::MultiGet(
    Table table, std::span<const std::string> keys, const RowSnapshot* snapshot) const {
  const std::shared_ptr<RocksDb> db = snapshot == nullptr ? this->db() : snapshot->db_;
  const std::vector<rocksdb::Slice> slices(keys.begin(), keys.end());
  std::vector<rocksdb::PinnableSlice> values(keys.size());
  std::vector<rocksdb::Status> statuses(keys.size());
  db->db->MultiGet(ReadOptionsAt(snapshot == nullptr ? nullptr : snapshot->handle_),
                   db->table(table), keys.size(), slices.data(), values.data(), statuses.data());
  std::vector<std::optional<std::string>> result(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    if (statuses[i].IsNotFound()) {
      continue;
    }
    TESSERA_RETURN_IF_ERROR(FromRocks(statuses[i], "reading rows"));
    result[i] = values[i].ToString();
    values[i].Reset();
  }
  return result;
}

std::unique_ptr<RowIterator> RowStore::NewIterator(Table table, std::string_view prefix,
                                                   const RowSnapshot* snapshot) const {
  return std::make_unique<PrefixIterator>(snapshot == nullptr ? db() : snapshot->db_, table, prefix,
                                          snapshot == nullptr ? nullptr : snapshot->handle_);
}

std::shared_ptr<const RowSnapshot> RowStore::Snapshot() const {
  const std::shared_ptr<RocksDb> db = this->db();
  return std::make_shared<RowSnapshot>(db, db->db->GetSnapshot());
}

absl::StatusOr<std::unique_ptr<BulkWriter>> RowStore::NewBulkWriter() {
  TESSERA_ASSIGN_OR_RETURN(std::shared_ptr<RocksDb> db, WritableDb());
  return BulkWriter::Create(std::move(db));
}

absl::Status RowStore::SyncLog() {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<RocksDb> db, WritableDb());
  return db->SyncLog();
}

absl::Status RowStore::Flush() {
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<RocksDb> db, WritableDb());
  return db->Flush();
}

uint64_t RowStore::memory_bytes() const {
  const std::shared_ptr<RocksDb> db = this->db();
  // The cache's usage has the write buffers in it, as far as they fit; the rest is read off.
  uint64_t table_readers = 0;
  for (rocksdb::ColumnFamilyHandle* family : db->tables) {
    uint64_t bytes = 0;
    if (db->db->GetIntProperty(family, rocksdb::DB::Properties::kEstimateTableReadersMem, &bytes)) {
      table_readers += bytes;
    }
  }
  return db->cache->GetUsage() + table_readers;
}

}  // namespace tessera::storage
