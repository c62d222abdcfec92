// Threads that run calls, and a bounded queue before them.
//
// Threads: any.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"

#include "base/mutex.h"

namespace tessera::api {

class Executor {
 public:
  Executor(int threads, size_t queue_max);
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  // Runs what is queued, then ends.
  ~Executor();

  // Runs `task`, which must not throw, on one of the threads. False when queue_max tasks wait.
  bool Submit(std::function<void()> task);
  // The same for what was let in before: it always finds room.
  void Resume(std::function<void()> task);

 private:
  void Work();

  const size_t queue_max_;
  base::Mutex mu_;
  base::CondVar wake_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mu_);
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace tessera::api
