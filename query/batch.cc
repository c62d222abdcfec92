#include "query/batch.h"

#include <atomic>
#include <new>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

#include "base/mutex.h"

namespace tessera::query {
namespace {

// Below this a helper costs more to wake than it saves.
constexpr size_t kQueriesPerHelperMin = 4;

class Run {
 public:
  Run(size_t count, absl::FunctionRef<absl::Status(size_t query)> search)
      : count_(count), search_(search) {}

  // Returns when no query is left to take, or one has failed.
  void Work() {
    // Relaxed: what the searches leave reaches the caller through the pool's lock.
    while (!failed_.load(std::memory_order_relaxed)) {
      const size_t query = next_.fetch_add(1, std::memory_order_relaxed);
      if (query >= count_) return;
      absl::Status status;
      try {
        status = search_(query);
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
  void Fail(size_t query, const absl::Status& status) {
    failed_.store(true, std::memory_order_relaxed);
    base::MutexLock lock(&mu_);
    if (!status_.ok()) return;
    absl::Status named(status.code(), absl::StrCat("query ", query, ": ", status.message()));
    status.ForEachPayload([&named](absl::string_view url, const absl::Cord& payload) {
      named.SetPayload(url, payload);
    });
    status_ = std::move(named);
  }

  const size_t count_;
  const absl::FunctionRef<absl::Status(size_t query)> search_;
  std::atomic<size_t> next_{0};
  std::atomic<bool> failed_{false};
  base::Mutex mu_;
  absl::Status status_ ABSL_GUARDED_BY(mu_);  // of the first query that failed
};

}  // namespace

absl::Status RunBatch(HelperPool& pool, size_t count, bool serial,
                      absl::FunctionRef<absl::Status(size_t query)> run) {
  Run batch(count, run);
  const size_t helpers = serial ? 0 : count / kQueriesPerHelperMin;
  pool.Run(static_cast<int>(helpers), [&batch] { batch.Work(); });
  return batch.status();
}

}  // namespace tessera::query
