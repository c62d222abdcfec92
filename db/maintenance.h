// One background thread that runs maintenance jobs, one at a time.
//
// Threads: every call from any thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"

#include "base/mutex.h"

namespace tessera::db {

class Maintenance {
 public:
  Maintenance() = default;
  ~Maintenance() { Stop(); }
  Maintenance(const Maintenance&) = delete;
  Maintenance& operator=(const Maintenance&) = delete;

  // Runs `job` soon, unless a job of that key waits already. After Stop nothing happens.
  void Request(uint64_t key, std::function<void()> job);

  // Drops what waits and returns when the running job has ended.
  void Stop();

 private:
  void Run();

  base::Mutex mu_;
  base::CondVar changed_;
  std::deque<std::pair<uint64_t, std::function<void()>>> waiting_ ABSL_GUARDED_BY(mu_);
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_ ABSL_GUARDED_BY(mu_);  // started by the first request
};

}  // namespace tessera::db
