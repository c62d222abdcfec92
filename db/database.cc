#include "db/database.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"

#include "base/coding.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "db/collection.h"
#include "db/engine.h"
#include "db/records.h"

namespace tessera::db {
namespace {

using base::Sv;
using storage::Durability;
using storage::Table;
using storage::WriteSet;

absl::Status CheckFormatVersion(Engine& engine) {
  storage::RowStore& rows = *engine.rows;
  TESSERA_ASSIGN_OR_RETURN(const std::optional<std::string> stored,
                           rows.Get(Table::kCatalog, kFormatVersionKey));
  if (!stored.has_value()) {
    // It is written before anything else: without it there must be nothing.
    const auto it = rows.NewIterator(Table::kCatalog, "");
    TESSERA_RETURN_IF_ERROR(it->status());
    if (it->Valid()) {
      return absl::DataLossError(
          absl::StrCat("data directory ", engine.path, " has a catalog without a format version"));
    }
    if (engine.read_only) return absl::OkStatus();
    WriteSet writes;
    std::string version;
    base::PutU32(&version, kDirectoryFormatVersion);
    writes.Put(Table::kCatalog, kFormatVersionKey, version);
    return rows.Write(writes, Durability::kSynced);
  }
  base::Decoder decoder(*stored);
  uint32_t version = 0;
  TESSERA_RETURN_IF_ERROR(decoder.U32(&version));
  if (version > kDirectoryFormatVersion) {
    return absl::UnimplementedError(
        absl::StrCat("data directory ", engine.path, " has format version ", version,
                     ", this program reads up to ", kDirectoryFormatVersion));
  }
  return absl::OkStatus();
}

class DatabaseImpl final : public Database {
 public:
  DatabaseImpl(std::unique_ptr<Engine> engine, bool background_absorb)
      : engine_(std::move(engine)), background_absorb_(background_absorb) {}
  ~DatabaseImpl() override { Close().IgnoreError(); }
  DatabaseImpl(const DatabaseImpl&) = delete;
  DatabaseImpl& operator=(const DatabaseImpl&) = delete;

  absl::Status LoadCollections();

  absl::Status CreateCollection(const base::CollectionSchema& schema) override;
  absl::Status DropCollection(std::string_view name) override;
  std::vector<base::CollectionSchema> ListCollections() override;
  absl::StatusOr<std::shared_ptr<Collection>> GetCollection(std::string_view name) override;
  MemoryUsage Memory() const override;
  absl::Status Close() override;

 private:
  absl::Status CheckOpen() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::unique_ptr<Engine> engine_;
  const bool background_absorb_;
  base::Mutex mu_;  // taken before a collection's locks
  std::map<std::string, std::shared_ptr<StoredCollection>, std::less<>> collections_
      ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

absl::Status DatabaseImpl::CheckOpen() const {
  if (closed_) return absl::FailedPreconditionError("the database is closed");
  return absl::OkStatus();
}

absl::Status DatabaseImpl::LoadCollections() {
  base::MutexLock lock(&mu_);
  auto it = engine_->rows->NewIterator(Table::kCatalog, kCollectionKeyPrefix, nullptr);
  for (; it->Valid(); it->Next()) {
    TESSERA_ASSIGN_OR_RETURN(const CollectionRecord record, DecodeCollectionRecord(it->value()));
    TESSERA_ASSIGN_OR_RETURN(std::shared_ptr<StoredCollection> collection,
                             StoredCollection::Open(*engine_, record, background_absorb_));
    collections_.emplace(record.schema.name, std::move(collection));
  }
  TESSERA_RETURN_IF_ERROR(it->status());
  if (engine_->read_only) return absl::OkStatus();
  const auto dropped = engine_->rows->NewIterator(Table::kCatalog, kDroppedKeyPrefix);
  for (; dropped->Valid(); dropped->Next()) {
    if (dropped->key().size() != kDroppedKeyPrefix.size() + sizeof(uint32_t)) {
      return absl::DataLossError("the catalog has an ill-formed key of a dropped collection");
    }
    TESSERA_RETURN_IF_ERROR(RemoveDropped(
        *engine_, base::DecodeBigEndian32(dropped->key().substr(kDroppedKeyPrefix.size()))));
  }
  TESSERA_RETURN_IF_ERROR(dropped->status());
  return engine_->files->RemoveUnused();
}

absl::Status DatabaseImpl::CreateCollection(const base::CollectionSchema& schema) {
  TESSERA_RETURN_IF_ERROR(base::Validate(schema));
  TESSERA_RETURN_IF_ERROR(engine_->CheckWritable());
  base::MutexLock lock(&mu_);
  TESSERA_RETURN_IF_ERROR(CheckOpen());
  if (collections_.contains(schema.name)) {
    return absl::AlreadyExistsError(
        absl::StrCat("collection \"", schema.name, "\" already exists"));
  }
  TESSERA_ASSIGN_OR_RETURN(const std::optional<std::string> stored,
                           engine_->rows->Get(Table::kCatalog, kNextUidKey));
  CollectionRecord record{.uid = 1, .schema = schema};
  if (stored.has_value()) {
    base::Decoder decoder(*stored);
    TESSERA_RETURN_IF_ERROR(decoder.U32(&record.uid));
  }
  WriteSet writes;
  std::string next_uid;
  base::PutU32(&next_uid, record.uid + 1);
  writes.Put(Table::kCatalog, kNextUidKey, next_uid);
  writes.Put(Table::kCatalog, CollectionKey(schema.name), EncodeCollectionRecord(record));
  TESSERA_RETURN_IF_ERROR(engine_->rows->Write(writes, Durability::kSynced));
  TESSERA_ASSIGN_OR_RETURN(std::shared_ptr<StoredCollection> collection,
                           StoredCollection::Open(*engine_, record, background_absorb_));
  collections_.emplace(schema.name, std::move(collection));
  return absl::OkStatus();
}

absl::Status DatabaseImpl::DropCollection(std::string_view name) {
  TESSERA_RETURN_IF_ERROR(engine_->CheckWritable());
  std::shared_ptr<StoredCollection> collection;
  {
    base::MutexLock lock(&mu_);
    TESSERA_RETURN_IF_ERROR(CheckOpen());
    const auto it = collections_.find(name);
    if (it == collections_.end()) {
      return absl::NotFoundError(absl::StrCat("there is no collection \"", Sv(name), "\""));
    }
    collection = it->second;
    TESSERA_RETURN_IF_ERROR(collection->Drop());
    collections_.erase(it);
  }
  return absl::OkStatus();
}

std::vector<base::CollectionSchema> DatabaseImpl::ListCollections() {
  base::MutexLock lock(&mu_);
  std::vector<base::CollectionSchema> schemas;
  schemas.reserve(collections_.size());
  for (const auto& [name, collection] : collections_) schemas.push_back(collection->schema());
  return schemas;
}

absl::StatusOr<std::shared_ptr<Collection>> DatabaseImpl::GetCollection(std::string_view name) {
  base::MutexLock lock(&mu_);
  TESSERA_RETURN_IF_ERROR(CheckOpen());
  const auto it = collections_.find(name);
  if (it == collections_.end()) {
    return absl::NotFoundError(absl::StrCat("there is no collection \"", Sv(name), "\""));
  }
  return it->second;
}

MemoryUsage DatabaseImpl::Memory() const {
  MemoryUsage usage{.limit_bytes = engine_->budget->limit_bytes(),
                    .used_bytes = engine_->budget->used_bytes(),
                    .components = {}};
  for (const auto& [component, bytes] : engine_->budget->UsageByComponent()) {
    usage.components.emplace_back(component, bytes);
  }
  return usage;
}

absl::Status DatabaseImpl::Close() {
  std::map<std::string, std::shared_ptr<StoredCollection>, std::less<>> collections;
  {
    base::MutexLock lock(&mu_);
    if (closed_) return absl::OkStatus();
    closed_ = true;
    collections.swap(collections_);
  }
  for (const auto& [name, collection] : collections) collection->Close();
  engine_->maintenance.Stop();
  return engine_->read_only ? absl::OkStatus() : engine_->rows->SyncLog();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& path,
                                                         const DatabaseOptions& options) {
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, OpenEngine(path, options));
  TESSERA_RETURN_IF_ERROR(CheckFormatVersion(*engine));
  auto database = std::make_unique<DatabaseImpl>(std::move(engine),
                                                 options.background_absorb && !options.read_only);
  TESSERA_RETURN_IF_ERROR(database->LoadCollections());
  return database;
}

}  // namespace tessera::db
