// Threads that lend a hand to calls with many equal parts to do.
//
// Threads: any.
#pragma once

#include <functional>
#include <list>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"

#include "base/mutex.h"

namespace tessera::query {

class HelperPool {
 public:
  explicit HelperPool(int threads);
  HelperPool(const HelperPool&) = delete;
  HelperPool& operator=(const HelperPool&) = delete;
  // Pre: no Run is under way.
  ~HelperPool();

  // Calls `work` on this thread and on up to `helpers` threads of the pool, also on such as become
  // free meanwhile; returns when every call has returned. `work` must end by itself when nothing is
  // left to do, and must not throw.
  void Run(int helpers, const std::function<void()>& work) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Job {
    const std::function<void()>& work;
    int wanted;  // helpers it still takes
    int running = 0;
    base::CondVar ended;  // a helper has left
  };

  void Help() ABSL_LOCKS_EXCLUDED(mu_);

  base::Mutex mu_;
  base::CondVar wake_;
  std::list<Job*> jobs_ ABSL_GUARDED_BY(mu_);  // those that take helpers, oldest first
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace tessera::query
