// Threads that lend a hand to calls with many equal parts to do.
//
// Threads: any.
#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

namespace tessera::api {

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
  void Run(int helpers, const std::function<void()>& work);

 private:
  struct Job {
    const std::function<void()>& work;
    int wanted;  // helpers it still takes
    int running = 0;
    std::condition_variable ended;  // a helper has left
  };

  void Help();

  std::mutex mu_;
  std::condition_variable wake_;
  std::list<Job*> jobs_;  // guarded by mu_; those that take helpers, oldest first
  bool stopped_ = false;  // guarded by mu_
  std::vector<std::thread> threads_;
};

}  // namespace tessera::api
