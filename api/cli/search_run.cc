#include "api/cli/search_run.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"

#include "api/formats/element_convert.h"
#include "base/mutex.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kSampleInterval(100);

double MicrosecondsSince(SteadyClock::time_point begin) {
  return std::chrono::duration<double, std::micro>(SteadyClock::now() - begin).count();
}

// What the threads of one run share.
class Run {
 public:
  Run(Client& client, const std::string& collection, const QuerySet& queries, uint64_t first,
      const db::SearchParams& params, const SearchSink& sink)
      : client_(client),
        collection_(collection),
        queries_(queries),
        first_(first),
        params_(params),
        sink_(sink),
        latencies_us_(queries.count()) {}

  void Work() {
    const size_t count = queries_.count();
    for (;;) {
      // relaxed: it hands out numbers, nothing else.
      const size_t query = next_.fetch_add(1, std::memory_order_relaxed);
      if (query >= count) return;
      const std::vector<float> row = queries_.row(query);
      const SteadyClock::time_point begin = SteadyClock::now();
      absl::StatusOr<db::SearchResult> result = client_.Search(collection_, row, params_);
      latencies_us_[query] = static_cast<float>(MicrosecondsSince(begin));
      if (!result.ok()) {
        Fail(absl::Status(result.status().code(),
                          absl::StrCat("query ", first_ + query, ": ", result.status().message())));
        return;
      }
      sink_(query, *std::move(result));
    }
  }

  // After the threads have ended.
  absl::Status status() {
    base::MutexLock lock(&mu_);
    return status_;
  }
  std::vector<float> TakeLatencies() { return std::move(latencies_us_); }

 private:
  void Fail(absl::Status status) {
    next_.store(queries_.count(), std::memory_order_relaxed);
    base::MutexLock lock(&mu_);
    status_.Update(std::move(status));
  }

  Client& client_;
  const std::string& collection_;
  const QuerySet& queries_;
  const uint64_t first_;
  const db::SearchParams& params_;
  const SearchSink& sink_;
  std::vector<float> latencies_us_;  // each written by the thread that has the query
  std::atomic<size_t> next_{0};
  base::Mutex mu_;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

// Watches the memory of the data's process until destroyed.
class MemorySampler {
 public:
  explicit MemorySampler(Client& client) : client_(client), thread_([this] { Loop(); }) {}
  MemorySampler(const MemorySampler&) = delete;
  MemorySampler& operator=(const MemorySampler&) = delete;
  ~MemorySampler() { Stop(); }

  // The largest sample; the last one is taken here.
  uint64_t Stop() {
    {
      base::MutexLock lock(&mu_);
      stopped_ = true;
      wake_.SignalAll();
    }
    if (thread_.joinable()) {
      thread_.join();
      Sample();
    }
    return bytes_max_;
  }

 private:
  void Loop() {
    do {
      Sample();
    } while (!WaitForStop());
  }

  // True when there is to be no other sample.
  bool WaitForStop() {
    const SteadyClock::time_point until = SteadyClock::now() + kSampleInterval;
    base::MutexLock lock(&mu_);
    while (!stopped_ && SteadyClock::now() < until) wake_.WaitUntil(&mu_, until);
    return stopped_;
  }

  void Sample() {
    if (const absl::StatusOr<ClientMemory> memory = client_.Memory(); memory.ok()) {
      bytes_max_ = std::max(bytes_max_, memory->resident_bytes);
    }
  }

  Client& client_;
  base::Mutex mu_;
  base::CondVar wake_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t bytes_max_ = 0;  // the thread's; Stop's once the thread has ended
  std::thread thread_;
};

}  // namespace

std::vector<float> QuerySet::row(size_t i) const {
  return ToFloats(std::string_view(rows).substr(i * row_bytes(), row_bytes()), type);
}

// NOLINTNEXTLINE(readability-function-size): one caller
absl::StatusOr<SearchTimes> RunQueries(Client& client, const std::string& collection,
                                       const QuerySet& queries, uint64_t first,
                                       const db::SearchParams& params, int threads,
                                       const SearchSink& sink) {
  SearchTimes times;
  Run run(client, collection, queries, first, params, sink);
  MemorySampler memory(client);
  const SteadyClock::time_point begin = SteadyClock::now();
  std::vector<std::thread> workers;
  for (int i = 1; i < threads; ++i) workers.emplace_back([&run] { run.Work(); });
  run.Work();
  for (std::thread& worker : workers) worker.join();
  times.seconds = MicrosecondsSince(begin) / 1e6;
  times.memory_bytes_max = memory.Stop();
  TESSERA_RETURN_IF_ERROR(run.status());
  times.latencies_us = run.TakeLatencies();
  times.Sort();
  return times;
}

void SearchTimes::Add(SearchTimes other) {
  seconds += other.seconds;
  latencies_us.insert(latencies_us.end(), other.latencies_us.begin(), other.latencies_us.end());
  memory_bytes_max = std::max(memory_bytes_max, other.memory_bytes_max);
}

void SearchTimes::Sort() {
  std::sort(latencies_us.begin(), latencies_us.end());
}

float Percentile(std::span<const float> ascending, double part) {
  if (ascending.empty()) return 0;
  const double rank = std::ceil(part * static_cast<double>(ascending.size()));
  const size_t at = rank < 1 ? 0 : static_cast<size_t>(rank) - 1;
  return ascending[std::min(at, ascending.size() - 1)];
}

}  // namespace tessera::api
