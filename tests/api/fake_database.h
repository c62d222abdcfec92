// db::Database in memory, exact by brute force: what the api is tested against.
//
// Several databases opened on one state see the same data, as processes see one directory after
// the other.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"

#include "base/mutex.h"
#include "db/database.h"
#include "query/filter/filter.h"
#include "query/helper_pool.h"

namespace tessera::api {

// The truth of one collection. Threads: any.
class FakeCollection : public db::Collection {
 public:
  explicit FakeCollection(base::CollectionSchema schema) : schema_(std::move(schema)) {}

  const base::CollectionSchema& schema() const override { return schema_; }
  absl::StatusOr<db::UpsertOutcome> Upsert(std::vector<db::Point> points, db::Ack ack) override;
  absl::StatusOr<uint64_t> Delete(std::span<const base::PointId> ids, db::Ack ack) override;
  absl::StatusOr<uint64_t> SetPayload(std::span<const base::PointId> ids,
                                      const base::Value& payload, db::Ack ack) override;
  absl::StatusOr<std::vector<db::StoredPoint>> Get(std::span<const base::PointId> ids,
                                                   db::Projection with) override;
  absl::StatusOr<db::ScrollPage> ScrollWhere(const db::ScrollParams& params) override;
  absl::StatusOr<uint64_t> Count() override;
  absl::StatusOr<db::CountResult> CountWhere(const db::CountParams& params) override;
  absl::StatusOr<db::FacetResult> Facet(const db::FacetParams& params) override;
  absl::StatusOr<db::ChangeResult> DeleteWhere(const db::FilterText& filter, db::Ack ack) override;
  absl::StatusOr<db::ChangeResult> SetPayloadWhere(const db::FilterText& filter,
                                                   const base::Value& payload,
                                                   db::Ack ack) override;
  // Waits while `search_gate` is closed, until the deadline or the cancellation.
  absl::StatusOr<db::SearchResult> Search(std::span<const float> query,
                                          const db::SearchParams& params) override;
  // Three threads search.
  absl::Status SearchBatch(std::span<const float> queries, const db::SearchParams& params,
                           const db::BatchSink& sink) override;
  absl::StatusOr<db::BulkLoadOutcome> BulkLoad(const db::PointSource& source,
                                               const db::BulkLoadOptions& options) override;
  absl::Status Absorb() override;
  absl::StatusOr<db::CollectionStats> Stats() override;

  // What happened, for tests.
  std::atomic<int> bulk_loads{0};
  std::atomic<int> bulk_loads_failed{0};
  std::atomic<bool> load_gate_closed{false};  // bulk loads that have read all wait for it
  std::atomic<int> loads_waiting{0};          // all that ever came to the gate
  std::atomic<int> upserts{0};
  std::atomic<int> absorbs{0};
  std::atomic<int> upserts_until_full{-1};  // then kResourceExhausted until Absorb; -1: never full
  std::atomic<int> room_after_absorb{2};    // upserts again
  std::atomic<bool> upsert_gate_closed{false};  // upserts wait while it is
  std::atomic<int> upserts_waiting{0};          // all that ever came to the gate
  std::atomic<int> searches_cancelled{0};
  std::atomic<int> searches_late{0};  // gave up at their deadline
  std::atomic<bool> search_gate_closed{false};
  std::atomic<int> searches_waiting{0};  // all that ever came to the gate
  std::atomic<bool> source_throws{false};   // instead of loading in bulk
  std::atomic<uint64_t> bytes_shown_max{0};  // of payloads and vectors read by one Get
  std::atomic<uint64_t> bytes_scrolled_max{0};         // the same by one Scroll
  std::atomic<uint64_t> merged_bytes_max{UINT64_MAX};  // of payloads that one SetPayload writes
  db::SearchParams last_params() const;
  db::FilterText last_filter() const;  // that was read, of any call
  void Drop();  // later calls answer kNotFound; a load is cancelled
  db::Ack last_ack() const;

 private:
  using Points = std::map<base::PointId, db::StoredPoint>;

  absl::Status TakeAll(const db::PointSource& source, const db::BulkLoadOptions& options,
                       std::vector<db::Point>* all) const;
  absl::Status WaitAtLoadGate(const db::BulkLoadOptions& options);
  absl::Status CheckVectors(const db::Point& point) const;
  absl::Status Check(const std::vector<db::Point>& points, bool ids_once) const;
  // Returns how many replaced another.
  uint64_t Apply(std::vector<db::Point> points, Points* into) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  db::StoredPoint Project(const db::StoredPoint& point, db::Projection with) const;
  // Reads a filter; none passes all. Warns of paths that no point has, or refuses them.
  absl::StatusOr<query::Filter> Read(const std::optional<db::FilterText>& filter,
                                     std::vector<std::string>* warnings)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool HasPath(const query::FieldPath& path) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::vector<base::PointId> Matching(const query::Filter& filter) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  db::Explain ExplainOf(const query::Filter& filter, db::SearchPlan plan) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status Merge(std::span<const base::PointId> ids, const base::Value& payload)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static uint64_t ShownBytes(const db::StoredPoint& point);
  absl::Status WaitAtGate(const db::SearchParams& params);

  const base::CollectionSchema schema_;
  std::atomic<bool> dropped_{false};
  base::Mutex load_mu_;
  std::atomic<bool>* load_cancelled_ ABSL_GUARDED_BY(load_mu_) = nullptr;
  mutable base::Mutex mu_;
  Points points_ ABSL_GUARDED_BY(mu_);
  uint64_t version_ ABSL_GUARDED_BY(mu_) = 0;
  db::SearchParams last_params_ ABSL_GUARDED_BY(mu_);
  db::FilterText last_filter_ ABSL_GUARDED_BY(mu_);
  query::HelperPool helpers_{2};
  db::Ack last_ack_ ABSL_GUARDED_BY(mu_) = db::Ack::kWal;
};

struct FakeState {
  base::Mutex mu;
  std::map<std::string, std::shared_ptr<FakeCollection>, std::less<>> collections
      ABSL_GUARDED_BY(mu);
};

class FakeDatabase : public db::Database {
 public:
  FakeDatabase() : state_(std::make_shared<FakeState>()) {}
  explicit FakeDatabase(std::shared_ptr<FakeState> state) : state_(std::move(state)) {}

  absl::Status CreateCollection(const base::CollectionSchema& schema) override;
  absl::Status DropCollection(std::string_view name) override;
  std::vector<base::CollectionSchema> ListCollections() override;
  absl::StatusOr<std::shared_ptr<db::Collection>> GetCollection(std::string_view name) override;
  db::MemoryUsage Memory() const override;
  absl::Status Close() override { return absl::OkStatus(); }

  // Pre: it is there.
  std::shared_ptr<FakeCollection> collection(std::string_view name);

 private:
  const std::shared_ptr<FakeState> state_;
};

}  // namespace tessera::api
