// Threads that run calls, and bounded queues before them, one for each share: what a collection asks
// for is one. A share whose calls wait (for a log, an absorption, a lock) takes its part of the
// threads and no more, and shares with calls take turns.
//
// Threads: any.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"

#include "base/mutex.h"

namespace tessera::api {

class Executor {
 public:
  struct Options {
    int threads_max = 1;      // begun as they are needed
    int share_threads_max = 1;
    size_t queue_max = 4096;  // tasks that wait; of one share half of it
  };

  explicit Executor(const Options& options) : options_(options) {}
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  // Runs what is queued, then ends.
  ~Executor();

  // Runs `task`, which must not throw, on one of the threads. False when too many tasks wait.
  bool Submit(std::string_view share, std::function<void()> task);
  // The same for what was let in before: it always finds room.
  void Resume(std::string_view share, std::function<void()> task);

 private:
  struct Share {
    std::deque<std::function<void()>> queue;
    int running = 0;
    bool in_line = false;  // one of `line_`
  };
  using Shares = std::map<std::string, Share, std::less<>>;

  void Work();
  void Put(Shares::iterator share, std::function<void()> task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Puts the share in line if it has a task that may run.
  void Line(Shares::iterator share) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void StartThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  base::Mutex mu_;
  base::CondVar wake_;
  Shares shares_ ABSL_GUARDED_BY(mu_);                  // those with tasks
  std::deque<Shares::iterator> line_ ABSL_GUARDED_BY(mu_);  // those that may run one, in turn
  size_t queued_ ABSL_GUARDED_BY(mu_) = 0;              // of all shares
  int idle_ ABSL_GUARDED_BY(mu_) = 0;                   // threads that wait
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mu_);
};

}  // namespace tessera::api
