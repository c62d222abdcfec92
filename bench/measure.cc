#include "bench/measure.h"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cmath>
#include <thread>
#include <utility>

#include "base/status_macros.h"

namespace tessera::bench {
namespace {

using SteadyClock = std::chrono::steady_clock;

double SecondsBetween(SteadyClock::time_point from, SteadyClock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// What one thread did.
struct ThreadLog {
  absl::Status status;
  double seconds = 0;
  std::vector<double> latencies_us;
};

// Whole rounds over the queries, beginning at `first`, until `seconds_min` have passed.
ThreadLog RunRounds(Engine& engine, const std::vector<float>& queries, size_t dim, size_t first,
                    double seconds_min) {
  ThreadLog log;
  const size_t count = queries.size() / dim;
  std::vector<uint64_t> ids;
  const SteadyClock::time_point begin = SteadyClock::now();
  SteadyClock::time_point before = begin;
  do {
    for (size_t i = 0; i < count; ++i) {
      const size_t query = (first + i) % count;
      log.status = engine.Search({&queries[query * dim], dim}, &ids);
      if (!log.status.ok()) return log;
      const SteadyClock::time_point after = SteadyClock::now();
      log.latencies_us.push_back(SecondsBetween(before, after) * 1e6);
      before = after;
    }
    log.seconds = SecondsBetween(begin, before);
  } while (log.seconds < seconds_min);
  return log;
}

absl::Status WarmUp(Engine& engine, const std::vector<float>& queries, size_t dim, double seconds) {
  std::vector<uint64_t> ids;
  const SteadyClock::time_point begin = SteadyClock::now();
  for (size_t at = 0; SecondsBetween(begin, SteadyClock::now()) < seconds; at += dim) {
    if (at == queries.size()) at = 0;
    TESSERA_RETURN_IF_ERROR(engine.Search({&queries[at], dim}, &ids));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PassReport> MeasurePass(Engine& engine, const std::vector<float>& queries,
                                       size_t dim, const PassRequest& request) {
  TESSERA_RETURN_IF_ERROR(engine.Configure(request.point));
  if (request.warmup_seconds > 0) {
    TESSERA_RETURN_IF_ERROR(WarmUp(engine, queries, dim, request.warmup_seconds));
  }
  const auto thread_count = static_cast<size_t>(request.threads);
  const size_t count = queries.size() / dim;
  std::vector<ThreadLog> logs(thread_count);
  std::barrier start(request.threads);
  const auto work = [&](size_t thread) {
    start.arrive_and_wait();
    logs[thread] =
        RunRounds(engine, queries, dim, count * thread / thread_count, request.seconds_min);
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < thread_count; ++i) threads.emplace_back(work, i);
  work(0);
  for (std::thread& thread : threads) thread.join();

  PassReport report;
  std::vector<double> latencies;
  for (const ThreadLog& log : logs) {
    TESSERA_RETURN_IF_ERROR(log.status);
    report.qps += static_cast<double>(log.latencies_us.size()) / log.seconds;
    latencies.insert(latencies.end(), log.latencies_us.begin(), log.latencies_us.end());
  }
  std::sort(latencies.begin(), latencies.end());
  report.p50_us = Quantile(latencies, 0.50);
  report.p95_us = Quantile(latencies, 0.95);
  report.p99_us = Quantile(latencies, 0.99);
  return report;
}

absl::StatusOr<std::vector<std::vector<uint64_t>>> AnswerAll(Engine& engine,
                                                             const std::vector<float>& queries,
                                                             size_t dim) {
  std::vector<std::vector<uint64_t>> answers(queries.size() / dim);
  for (size_t query = 0; query < answers.size(); ++query) {
    TESSERA_RETURN_IF_ERROR(engine.Search({&queries[query * dim], dim}, &answers[query]));
  }
  return answers;
}

double Quantile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  const double rank = std::ceil(share * static_cast<double>(sorted.size()));
  return sorted[std::clamp<size_t>(static_cast<size_t>(rank), 1, sorted.size()) - 1];
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace tessera::bench
