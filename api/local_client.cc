#include <utility>

#include "api/client.h"
#include "api/convert.h"
#include "api/filters/filter_path.h"
#include "api/on_cancel.h"
#include "api/process_memory.h"
#include "api/search_near.h"
#include "base/status_details.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::api {
namespace {

class LocalClient : public Client {
 public:
  explicit LocalClient(std::unique_ptr<db::Database> database) : database_(std::move(database)) {}

  absl::Status CreateCollection(const base::CollectionSchema& schema) override {
    return database_->CreateCollection(schema);
  }

  absl::Status DropCollection(const std::string& name) override {
    return database_->DropCollection(name);
  }

  absl::StatusOr<std::vector<base::CollectionSchema>> ListCollections() override {
    return database_->ListCollections();
  }

  absl::StatusOr<db::CollectionStats> Describe(const std::string& name) override {
    TESSERA_ASSIGN_OR_RETURN(const Handle collection, database_->GetCollection(name));
    return collection->Stats();
  }

  absl::StatusOr<ClientMemory> Memory() override {
    const db::MemoryUsage usage = database_->Memory();
    return ClientMemory{.limit_bytes = usage.limit_bytes,
                        .used_bytes = usage.used_bytes,
                        .resident_bytes = AnonymousMemoryBytes()};
  }

  absl::StatusOr<db::CountResult> CountWhere(const std::string& name,
                                             const db::CountParams& params) override {
    TESSERA_ASSIGN_OR_RETURN(const Handle collection, database_->GetCollection(name));
    if (params.filter.has_value() || params.explain) return collection->CountWhere(params);
    TESSERA_ASSIGN_OR_RETURN(const uint64_t count, collection->Count());
    return db::CountResult{.count = count, .warnings = {}, .explain = {}};
  }

  absl::StatusOr<db::ScrollPage> ScrollWhere(const std::string& name,
                                             const db::ScrollParams& params) override {
    TESSERA_ASSIGN_OR_RETURN(const Handle collection, database_->GetCollection(name));
    return collection->ScrollWhere(params);
  }

  absl::StatusOr<db::FacetResult> Facet(const std::string& name,
                                        const db::FacetParams& params) override {
    TESSERA_ASSIGN_OR_RETURN(const Handle collection, database_->GetCollection(name));
    db::FacetParams quoted = params;
    const absl::StatusOr<std::string> path = QuotePath(params.path);
    if (!path.ok()) return base::InvalidField("path", base::StdSv(path.status().message()));
    quoted.path = *path;
    return collection->Facet(quoted);
  }

  absl::StatusOr<db::ChangeResult> DeleteWhere(const std::string& name,
                                               const db::FilterText& filter) override {
    TESSERA_ASSIGN_OR_RETURN(const Handle collection, database_->GetCollection(name));
    return collection->DeleteWhere(filter, db::Ack::kWal);
  }

  absl::StatusOr<db::ChangeResult> SetPayloadWhere(const std::string& name,
                                                   const db::FilterText& filter,
                                                   const base::Value& payload) override {
    TESSERA_ASSIGN_OR_RETURN(const Handle collection, database_->GetCollection(name));
    return collection->SetPayloadWhere(filter, payload, db::Ack::kWal);
  }

  absl::StatusOr<uint64_t> SetPayload(const std::string& name, std::span<const base::PointId> ids,
                                      const base::Value& payload) override {
    TESSERA_ASSIGN_OR_RETURN(const Handle collection, database_->GetCollection(name));
    return collection->SetPayload(ids, payload, db::Ack::kWal);
  }

  absl::StatusOr<uint64_t> Delete(const std::string& name,
                                  std::span<const base::PointId> ids) override {
    TESSERA_ASSIGN_OR_RETURN(const Handle collection, database_->GetCollection(name));
    return collection->Delete(ids, db::Ack::kWal);
  }

  absl::StatusOr<std::vector<db::StoredPoint>> Get(const std::string& name,
                                                   std::span<const base::PointId> ids,
                                                   db::Projection with) override {
    TESSERA_ASSIGN_OR_RETURN(const Handle collection, database_->GetCollection(name));
    return collection->Get(ids, with);
  }

  absl::StatusOr<db::SearchResult> Search(const std::string& name, std::span<const float> query,
                                          const db::SearchParams& params) override {
    TESSERA_ASSIGN_OR_RETURN(const Handle collection, database_->GetCollection(name));
    return collection->Search(query, params);
  }

  absl::StatusOr<db::SearchResult> SearchNear(const std::string& name, const base::PointId& id,
                                              const db::SearchParams& params) override {
    TESSERA_ASSIGN_OR_RETURN(const Handle collection, database_->GetCollection(name));
    return SearchNearPoint(*collection, id, params);
  }

  absl::StatusOr<std::vector<db::SearchResult>> SearchBatch(
      const std::string& name, std::span<const float> queries,
      const db::SearchParams& params) override {
    TESSERA_ASSIGN_OR_RETURN(const Handle collection, database_->GetCollection(name));
    TESSERA_ASSIGN_OR_RETURN(const base::VectorFieldSchema* field,
                             FindField(collection->schema(), params.field));
    TESSERA_RETURN_IF_ERROR(CheckBatch(*field, queries.size_bytes(), base::ElementType::kF32));
    std::vector<db::SearchResult> results(queries.size() / field->dim);
    TESSERA_RETURN_IF_ERROR(
        collection->SearchBatch(queries, params, [&results](size_t query, db::SearchResult result) {
          results[query] = std::move(result);
          return absl::OkStatus();
        }));
    return results;
  }

  absl::StatusOr<IngestSummary> Ingest(const std::string& name, const db::PointSource& source,
                                       const IngestOptions& options) override {
    TESSERA_ASSIGN_OR_RETURN(const Handle collection, database_->GetCollection(name));
    // Absorptions on the way do not look at the flag.
    const OnCancel close(options.cancelled, [this] { database_->Close().IgnoreError(); });
    TESSERA_ASSIGN_OR_RETURN(const IngestSummary summary,
                             IngestPoints(*collection, source, options));
    // Nothing would do it in the background once this process has ended.
    if (!summary.bulk) TESSERA_RETURN_IF_ERROR(collection->Absorb());
    return summary;
  }

  absl::Status Close() override { return database_->Close(); }

 private:
  using Handle = std::shared_ptr<db::Collection>;

  std::unique_ptr<db::Database> database_;
};

}  // namespace

std::unique_ptr<Client> NewLocalClient(std::unique_ptr<db::Database> database) {
  return std::make_unique<LocalClient>(std::move(database));
}

}  // namespace tessera::api
