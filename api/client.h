// What the command line does with a database, wherever it is: in this process or behind gRPC.
//
// Threads: every call from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "api/ingest.h"
#include "base/point_id.h"
#include "base/schema.h"
#include "base/value.h"
#include "db/database.h"

namespace tessera::api {

// Memory of the process that holds the data.
struct ClientMemory {
  uint64_t limit_bytes = 0;
  uint64_t used_bytes = 0;      // what its components have reserved
  uint64_t resident_bytes = 0;  // anonymous memory, own caches included
};

// Errors: those of db::Database and db::Collection; from a server also kUnavailable.
class Client {
 public:
  virtual ~Client() = default;

  virtual absl::Status CreateCollection(const base::CollectionSchema& schema) = 0;
  virtual absl::Status DropCollection(const std::string& name) = 0;
  virtual absl::StatusOr<std::vector<base::CollectionSchema>> ListCollections() = 0;
  virtual absl::StatusOr<db::CollectionStats> Describe(const std::string& name) = 0;
  virtual absl::StatusOr<ClientMemory> Memory() = 0;

  virtual absl::StatusOr<db::CountResult> CountWhere(const std::string& name,
                                                     const db::CountParams& params) = 0;
  absl::StatusOr<uint64_t> Count(const std::string& name) {
    absl::StatusOr<db::CountResult> result = CountWhere(name, {});
    if (!result.ok()) return result.status();
    return result->count;
  }
  // A page; over gRPC it ends early where its points would be too many bytes for a reply.
  virtual absl::StatusOr<db::ScrollPage> ScrollWhere(const std::string& name,
                                                     const db::ScrollParams& params) = 0;
  absl::StatusOr<db::ScrollPage> Scroll(const std::string& name,
                                        const std::optional<base::PointId>& offset, uint32_t limit,
                                        db::Projection with) {
    return ScrollWhere(name, {.offset = offset, .limit = limit, .with = with});
  }
  // `params.path` as that of a Condition in filter.proto.
  virtual absl::StatusOr<db::FacetResult> Facet(const std::string& name,
                                                const db::FacetParams& params) = 0;
  virtual absl::StatusOr<db::ChangeResult> DeleteWhere(const std::string& name,
                                                       const db::FilterText& filter) = 0;
  virtual absl::StatusOr<db::ChangeResult> SetPayloadWhere(const std::string& name,
                                                           const db::FilterText& filter,
                                                           const base::Value& payload) = 0;
  virtual absl::StatusOr<uint64_t> SetPayload(const std::string& name,
                                              std::span<const base::PointId> ids,
                                              const base::Value& payload) = 0;
  virtual absl::StatusOr<uint64_t> Delete(const std::string& name,
                                          std::span<const base::PointId> ids) = 0;
  virtual absl::StatusOr<std::vector<db::StoredPoint>> Get(const std::string& name,
                                                           std::span<const base::PointId> ids,
                                                           db::Projection with) = 0;

  virtual absl::StatusOr<db::SearchResult> Search(const std::string& name,
                                                  std::span<const float> query,
                                                  const db::SearchParams& params) = 0;
  virtual absl::StatusOr<db::SearchResult> SearchNear(const std::string& name,
                                                      const base::PointId& id,
                                                      const db::SearchParams& params) = 0;

  // Many queries with the same parameters; results in their order. Over gRPC one call, which costs
  // far less than one for each query and uses the server's search threads; here one after the
  // other.
  //
  // Shapes: queries [count x dim], 1 .. 10,000 queries.
  virtual absl::StatusOr<std::vector<db::SearchResult>> SearchBatch(
      const std::string& name, std::span<const float> queries, const db::SearchParams& params) = 0;

  // See IngestPoints. A remote client sends batches of `source` in messages of about 2 MiB; when it
  // is cancelled, a little more may be stored than `progress` has told. A local one is closed then.
  virtual absl::StatusOr<IngestSummary> Ingest(const std::string& name,
                                               const db::PointSource& source,
                                               const IngestOptions& options) = 0;

  // Makes everything durable and lets go of the data.
  virtual absl::Status Close() = 0;
};

std::unique_ptr<Client> NewLocalClient(std::unique_ptr<db::Database> database);

// `address` is HOST:PORT; connects at the first call.
std::unique_ptr<Client> NewRemoteClient(const std::string& address);

}  // namespace tessera::api
