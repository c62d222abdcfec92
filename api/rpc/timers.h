// Actions at a time, on one thread for all of them.
//
// Threads: any; actions run one after the other, and must be short.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"

#include "base/deadline.h"
#include "base/mutex.h"

namespace tessera::api {

class Timers {
 public:
  Timers();
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;
  // Actions whose time has not come never run.
  ~Timers();

  // Runs `action` once `at` has passed, never if that never passes. The answer is for Cancel.
  uint64_t At(base::Deadline at, std::function<void()> action);
  // 0 is no timer. After it the action does not run: one that has begun is waited for, unless it is an action that
  // calls.
  void Cancel(uint64_t timer);

 private:
  using Key = std::pair<base::Deadline, uint64_t>;

  void Run();

  base::Mutex mu_;
  base::CondVar wake_;
  std::map<Key, std::function<void()>> actions_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, base::Deadline> times_ ABSL_GUARDED_BY(mu_);
  uint64_t last_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t running_ ABSL_GUARDED_BY(mu_) = 0;
  base::CondVar ended_;  // an action has
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace tessera::api
