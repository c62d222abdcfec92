#include "api/services/search_service.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"

#include "api/convert.h"
#include "api/formats/element_convert.h"
#include "api/search_near.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::api {
namespace {

// Below this a thread costs more to start than it saves.
constexpr size_t kQueriesPerThreadMin = 16;

// Takes up to `wanted` threads from the server's common stock and gives them back.
class HelperThreads {
 public:
  HelperThreads(std::atomic<int>& stock, int wanted) : stock_(stock) {
    // Relaxed: the stock counts threads, it hands over no data.
    int there = stock_.load(std::memory_order_relaxed);
    do {
      count_ = std::clamp(there, 0, wanted);
    } while (!stock_.compare_exchange_weak(there, there - count_, std::memory_order_relaxed));
  }
  HelperThreads(const HelperThreads&) = delete;
  HelperThreads& operator=(const HelperThreads&) = delete;
  ~HelperThreads() { stock_.fetch_add(count_, std::memory_order_relaxed); }

  int count() const { return count_; }

 private:
  std::atomic<int>& stock_;
  int count_ = 0;
};

// The queries of one batch, taken one after the other by several threads.
class BatchRun {
 public:
  // queries [count x dim]; `response` has `count` results already.
  BatchRun(db::Collection& collection, const db::SearchParams& params,
           std::span<const float> queries, size_t dim, v1::SearchBatchResponse* response)
      : collection_(collection),
        params_(params),
        queries_(queries),
        dim_(dim),
        response_(response) {}

  // Returns when no query is left to take, or one has failed.
  void Work() {
    // Relaxed: the results reach the reader through the threads' joins.
    while (!failed_.load(std::memory_order_relaxed)) {
      const size_t query = next_.fetch_add(1, std::memory_order_relaxed);
      if (query >= queries_.size() / dim_) return;
      absl::Status status;
      try {
        status = SearchOne(query);
      } catch (const std::bad_alloc&) {
        status = absl::ResourceExhaustedError("out of memory");
      }
      if (!status.ok()) Fail(query, status);
    }
  }

  absl::Status status() {
    base::MutexLock lock(&mu_);
    return status_;
  }

 private:
  absl::Status SearchOne(size_t query) {
    const Stopwatch watch;
    TESSERA_ASSIGN_OR_RETURN(db::SearchResult result,
                             collection_.Search(queries_.subspan(query * dim_, dim_), params_));
    v1::SearchResponse* out = response_->mutable_results(static_cast<int>(query));
    ToProto(collection_.schema(), std::move(result), out);
    out->set_time(watch.Seconds());
    return absl::OkStatus();
  }

  void Fail(size_t query, const absl::Status& status) {
    failed_.store(true, std::memory_order_relaxed);
    base::MutexLock lock(&mu_);
    if (!status_.ok()) return;
    status_ = absl::Status(status.code(), absl::StrCat("query ", query, ": ", status.message()));
  }

  db::Collection& collection_;
  const db::SearchParams& params_;
  const std::span<const float> queries_;
  const size_t dim_;
  v1::SearchBatchResponse* const response_;
  std::atomic<size_t> next_{0};
  std::atomic<bool> failed_{false};
  base::Mutex mu_;
  absl::Status status_ ABSL_GUARDED_BY(mu_);  // of the first query that failed
};

// The queries as floats [count x dim]. Errors: kInvalidArgument.
absl::StatusOr<std::vector<float>> BatchQueries(const base::VectorFieldSchema& field,
                                                const v1::VectorColumn& column, uint32_t limit) {
  absl::StatusOr<base::ElementType> type = FromProto(column.type(), field.type);
  if (!type.ok()) return BlameField(type.status(), "queries.type");
  const size_t row_bytes = field.dim * base::ElementBytes(*type);
  const size_t count = column.data().size() / row_bytes;
  if (count == 0 || count * row_bytes != column.data().size()) {
    return InvalidField(
        "queries.data",
        absl::StrCat(column.data().size(), " bytes, a query of dimension ", field.dim, " in ",
                     base::Sv(base::ToString(*type)), " has ", row_bytes));
  }
  if (count > kBatchQueriesMax) {
    return InvalidField("queries", absl::StrCat(count, " queries, at most ", kBatchQueriesMax));
  }
  if (count * limit > kBatchHitsMax) {
    return InvalidField("limit", absl::StrCat(count, " queries x limit ", limit, ", at most ",
                                              kBatchHitsMax, " hits in all"));
  }
  return ToFloats(column.data(), *type);
}

}  // namespace

grpc::Status SearchService::Search(grpc::ServerContext* call, const v1::SearchRequest* request,
                                   v1::SearchResponse* response) {
  return Answer([&]() -> absl::Status {
    const Stopwatch watch;
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(request->collection()));
    const absl::StatusOr<const base::VectorFieldSchema*> field =
        FindField(collection->schema(), request->field());
    if (!field.ok()) return BlameField(field.status(), "field");
    const CancellationWatch::Call cancellation(context_.cancellations, *call);
    db::SearchParams params = ParamsFromProto(*request, request->field());
    params.deadline = DeadlineOf(*call);
    params.cancelled = cancellation.flag();
    db::SearchResult result;
    if (request->query_case() == v1::SearchRequest::kPoint) {
      absl::StatusOr<base::PointId> id = FromProto(request->point());
      if (!id.ok()) return BlameField(id.status(), "point");
      TESSERA_ASSIGN_OR_RETURN(result, SearchNearPoint(*collection, *id, params));
    } else {
      TESSERA_ASSIGN_OR_RETURN(const std::vector<float> query,
                               QueryFromProto(**field, request->vector()));
      TESSERA_ASSIGN_OR_RETURN(result, collection->Search(query, params));
    }
    ToProto(collection->schema(), std::move(result), response);
    response->set_time(watch.Seconds());
    return absl::OkStatus();
  });
}

grpc::Status SearchService::SearchBatch(grpc::ServerContext* call,
                                        const v1::SearchBatchRequest* request,
                                        v1::SearchBatchResponse* response) {
  return Answer([&]() -> absl::Status {
    const Stopwatch watch;
    TESSERA_ASSIGN_OR_RETURN(const std::shared_ptr<db::Collection> collection,
                             context_.database.GetCollection(request->collection()));
    const absl::StatusOr<const base::VectorFieldSchema*> field =
        FindField(collection->schema(), request->queries().field());
    if (!field.ok()) return BlameField(field.status(), "queries.field");
    const CancellationWatch::Call cancellation(context_.cancellations, *call);
    db::SearchParams params = ParamsFromProto(*request, request->queries().field());
    params.deadline = DeadlineOf(*call);
    params.cancelled = cancellation.flag();
    TESSERA_ASSIGN_OR_RETURN(const std::vector<float> queries,
                             BatchQueries(**field, request->queries(), params.limit));
    const size_t dim = (*field)->dim;
    const size_t count = queries.size() / dim;
    for (size_t i = 0; i < count; ++i) response->add_results();

    BatchRun run(*collection, params, queries, dim, response);
    const HelperThreads helpers(context_.helper_threads_free,
                                static_cast<int>(count / kQueriesPerThreadMin));
    std::vector<std::thread> threads;
    for (int i = 0; i < helpers.count(); ++i) threads.emplace_back([&run] { run.Work(); });
    run.Work();
    for (std::thread& thread : threads) thread.join();
    TESSERA_RETURN_IF_ERROR(run.status());
    response->set_time(watch.Seconds());
    return absl::OkStatus();
  });
}

}  // namespace tessera::api
