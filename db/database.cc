#include "db/database.h"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

#include "base/coding/coding.h"
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
  if (version < kDirectoryFormatVersion) {
    return absl::UnimplementedError(absl::StrCat(
        "data directory ", engine.path, " has format version ", version,
        " of an earlier program, this one reads ", kDirectoryFormatVersion,
        " alone; export its collections with the program that wrote it and ingest them anew"));
  }
  return absl::OkStatus();
}

// Owner of the timer's job: no uid.
constexpr uint64_t kTendOwner = 0;

// A drop is done once the catalog has it; its rows go afterwards, as a job, also after a restart.
Job DropJob(uint32_t uid, std::function<absl::Status()> run) {
  return {.owner = DropOwner(uid),
          .length = JobLength::kLong,
          .urgency = kUrgencyRoutine,
          .what = "removing what a dropped collection has left",
          .run = std::move(run)};
}

// Locks, in the order they are taken: catalog_mu_, which holds changes of the catalog apart, and
// mu_, which every call takes and which is never held for I/O or while anything is waited for.
class DatabaseImpl final : public Database {
 public:
  DatabaseImpl(std::unique_ptr<Engine> engine, const DatabaseOptions& options)
      : engine_(std::move(engine)),
        background_(options.background_absorb && !options.read_only),
        tend_every_(absl::ToChronoMilliseconds(options.tend_every)) {}
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
  // The collection of that name, null if there is none. Errors: when closed.
  absl::StatusOr<std::shared_ptr<StoredCollection>> Find(std::string_view name)
      ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<std::shared_ptr<StoredCollection>> AddToCatalog(
      const base::CollectionSchema& schema) ABSL_LOCKS_EXCLUDED(catalog_mu_);
  absl::StatusOr<std::shared_ptr<StoredCollection>> TakeFromCatalog(std::string_view name)
      ABSL_LOCKS_EXCLUDED(catalog_mu_);
  absl::Status WriteRemoval(const StoredCollection& collection)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(catalog_mu_);
  void RemoveRowsInBackground(const std::shared_ptr<StoredCollection>& collection);
  void TendLater();
  void TendAll() ABSL_LOCKS_EXCLUDED(mu_);

  const std::unique_ptr<Engine> engine_;
  const bool background_;
  const std::chrono::milliseconds tend_every_;
  base::Mutex catalog_mu_;
  base::Mutex mu_ ABSL_ACQUIRED_AFTER(catalog_mu_);
  std::map<std::string, std::shared_ptr<StoredCollection>, std::less<>> collections_
      ABSL_GUARDED_BY(mu_);
  // Dropped, but whether for good only the next open will know.
  std::vector<std::shared_ptr<StoredCollection>> undecided_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

absl::Status DatabaseImpl::CheckOpen() const {
  if (closed_) return absl::FailedPreconditionError("the database is closed");
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<StoredCollection>> DatabaseImpl::Find(std::string_view name) {
  base::MutexLock lock(&mu_);
  TESSERA_RETURN_IF_ERROR(CheckOpen());
  const auto it = collections_.find(name);
  return it == collections_.end() ? nullptr : it->second;
}

absl::Status DatabaseImpl::LoadCollections() {
  auto it = engine_->rows->NewIterator(Table::kCatalog, kCollectionKeyPrefix, nullptr);
  for (; it->Valid(); it->Next()) {
    TESSERA_ASSIGN_OR_RETURN(const CollectionRecord record, DecodeCollectionRecord(it->value()));
    TESSERA_ASSIGN_OR_RETURN(std::shared_ptr<StoredCollection> collection,
                             StoredCollection::Open(*engine_, record, background_));
    base::MutexLock lock(&mu_);
    collections_.emplace(record.schema.name, std::move(collection));
  }
  TESSERA_RETURN_IF_ERROR(it->status());
  if (engine_->read_only) return absl::OkStatus();
  const auto dropped = engine_->rows->NewIterator(Table::kCatalog, kDroppedKeyPrefix);
  for (; dropped->Valid(); dropped->Next()) {
    if (dropped->key().size() != kDroppedKeyPrefix.size() + sizeof(uint32_t)) {
      return absl::DataLossError("the catalog has an ill-formed key of a dropped collection");
    }
    const uint32_t uid = base::DecodeBigEndian32(dropped->key().substr(kDroppedKeyPrefix.size()));
    engine_->scheduler.Submit(DropJob(uid, [engine = engine_.get(), uid] {
      return RemoveDropped(*engine, uid, [engine] { return engine->CheckOpen(); });
    }));
  }
  TESSERA_RETURN_IF_ERROR(dropped->status());
  TESSERA_RETURN_IF_ERROR(engine_->files->RemoveUnused());
  if (background_) TendAll();
  return absl::OkStatus();
}

void DatabaseImpl::TendLater() {
  engine_->scheduler.Submit({.owner = kTendOwner,
                             .length = JobLength::kShort,
                             .urgency = kUrgencyMemory,
                             .what = "looking after collections",
                             .run =
                                 [this] {
                                   TendAll();
                                   return absl::OkStatus();
                                 }},
                            tend_every_);
}

void DatabaseImpl::TendAll() {
  std::vector<std::shared_ptr<StoredCollection>> all;
  {
    base::MutexLock lock(&mu_);
    for (const auto& [name, collection] : collections_) all.push_back(collection);
  }
  for (const auto& collection : all) collection->Tend();
  // Files whose last reader has gone since.
  engine_->files->RemoveUnused().IgnoreError();
  TendLater();
}

// The log is in order: whoever writes to the new collection before the catalog's entry is synced
// loses that together with the entry, or neither.
absl::Status DatabaseImpl::CreateCollection(const base::CollectionSchema& schema) {
  TESSERA_RETURN_IF_ERROR(base::Validate(schema));
  TESSERA_RETURN_IF_ERROR(engine_->CheckWritable());
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<StoredCollection> created, AddToCatalog(schema));
  const absl::Status synced = engine_->rows->SyncLog();
  if (synced.ok()) return absl::OkStatus();
  // Not answered for, so it is not to stay, as far as that can be had.
  base::MutexLock catalog(&catalog_mu_);
  {
    base::MutexLock lock(&mu_);
    const auto it = collections_.find(schema.name);
    if (it == collections_.end() || it->second != created) return synced;
    collections_.erase(it);
  }
  created->MarkDropped();
  WriteRemoval(*created).IgnoreError();
  return synced;
}

absl::StatusOr<std::shared_ptr<StoredCollection>> DatabaseImpl::AddToCatalog(
    const base::CollectionSchema& schema) {
  base::MutexLock catalog(&catalog_mu_);
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<StoredCollection> there, Find(schema.name));
  if (there != nullptr) {
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
  // Before the catalog has it: if this fails nothing is left behind.
  TESSERA_ASSIGN_OR_RETURN(std::shared_ptr<StoredCollection> collection,
                           StoredCollection::Open(*engine_, record, background_));
  WriteSet writes;
  std::string next_uid;
  base::PutU32(&next_uid, record.uid + 1);
  writes.Put(Table::kCatalog, kNextUidKey, next_uid);
  writes.Put(Table::kCatalog, CollectionKey(schema.name), EncodeCollectionRecord(record));
  TESSERA_RETURN_IF_ERROR(engine_->rows->Write(writes, Durability::kBuffered));
  base::MutexLock lock(&mu_);
  TESSERA_RETURN_IF_ERROR(CheckOpen());
  collections_.emplace(schema.name, collection);
  return collection;
}

absl::Status DatabaseImpl::WriteRemoval(const StoredCollection& collection) {
  WriteSet writes;
  writes.Delete(Table::kCatalog, CollectionKey(collection.schema().name));
  writes.Put(Table::kCatalog, DroppedKey(collection.uid()), "");
  return engine_->rows->Write(writes, Durability::kBuffered);
}

absl::StatusOr<std::shared_ptr<StoredCollection>> DatabaseImpl::TakeFromCatalog(
    std::string_view name) {
  base::MutexLock catalog(&catalog_mu_);
  TESSERA_ASSIGN_OR_RETURN(std::shared_ptr<StoredCollection> collection, Find(name));
  if (collection == nullptr) {
    return absl::NotFoundError(absl::StrCat("there is no collection \"", Sv(name), "\""));
  }
  TESSERA_RETURN_IF_ERROR(WriteRemoval(*collection));
  base::MutexLock lock(&mu_);
  TESSERA_RETURN_IF_ERROR(CheckOpen());
  collections_.erase(collections_.find(name));
  return collection;
}

// Waits for no client: a load of the collection finds out by itself.
absl::Status DatabaseImpl::DropCollection(std::string_view name) {
  TESSERA_RETURN_IF_ERROR(engine_->CheckWritable());
  TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<StoredCollection> collection,
                           TakeFromCatalog(name));
  const absl::Status synced = engine_->rows->SyncLog();
  if (!synced.ok()) {
    // A power cut may bring it back: neither its rows nor its files may go. The next open knows.
    collection->Cancel();
    base::MutexLock lock(&mu_);
    undecided_.push_back(collection);
    return synced;
  }
  collection->MarkDropped();
  engine_->files->RemoveUnused().IgnoreError();
  RemoveRowsInBackground(collection);
  return absl::OkStatus();
}

void DatabaseImpl::RemoveRowsInBackground(const std::shared_ptr<StoredCollection>& collection) {
  engine_->scheduler.Submit(DropJob(collection->uid(), [this, collection]() -> absl::Status {
    TESSERA_RETURN_IF_ERROR(collection->RemoveRows());
    // Their views would make the row store keep what was removed.
    std::vector<std::shared_ptr<StoredCollection>> others;
    {
      base::MutexLock lock(&mu_);
      for (const auto& [name, other] : collections_) others.push_back(other);
    }
    for (const auto& other : others) other->RefreshView();
    return absl::OkStatus();
  }));
}

std::vector<base::CollectionSchema> DatabaseImpl::ListCollections() {
  base::MutexLock lock(&mu_);
  std::vector<base::CollectionSchema> schemas;
  schemas.reserve(collections_.size());
  for (const auto& [name, collection] : collections_) schemas.push_back(collection->schema());
  return schemas;
}

absl::StatusOr<std::shared_ptr<Collection>> DatabaseImpl::GetCollection(std::string_view name) {
  TESSERA_ASSIGN_OR_RETURN(std::shared_ptr<StoredCollection> collection, Find(name));
  if (collection == nullptr) {
    return absl::NotFoundError(absl::StrCat("there is no collection \"", Sv(name), "\""));
  }
  return collection;
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
  std::vector<std::shared_ptr<StoredCollection>> all;
  {
    base::MutexLock lock(&mu_);
    if (closed_) return absl::OkStatus();
    closed_ = true;
    all.swap(undecided_);
    for (const auto& [name, collection] : collections_) all.push_back(collection);
    collections_.clear();
  }
  engine_->closing.store(true);
  for (const auto& collection : all) collection->Cancel();
  engine_->scheduler.Stop();
  for (const auto& collection : all) collection->WaitAndRelease();
  return engine_->read_only ? absl::OkStatus() : engine_->rows->SyncLog();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& path,
                                                         const DatabaseOptions& options) {
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, OpenEngine(path, options));
  TESSERA_RETURN_IF_ERROR(CheckFormatVersion(*engine));
  auto database = std::make_unique<DatabaseImpl>(std::move(engine), options);
  TESSERA_RETURN_IF_ERROR(database->LoadCollections());
  return database;
}

}  // namespace tessera::db
