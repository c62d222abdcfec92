// Ends from outside what waits and cannot look at a flag itself: an action that runs when the flag
// is raised, on a thread of its own that looks every few milliseconds.
//
// Threads: one; the action runs on another.
#pragma once

#include <atomic>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"

#include "base/mutex.h"

namespace tessera::api {

class OnCancel {
 public:
  // `flag` outlives it; null: nothing ever happens.
  OnCancel(const std::atomic<bool>* flag, std::function<void()> action);
  OnCancel(const OnCancel&) = delete;
  OnCancel& operator=(const OnCancel&) = delete;
  // Waits for an action that runs.
  ~OnCancel();

 private:
  void Run();

  const std::atomic<bool>* const flag_;
  const std::function<void()> action_;
  base::Mutex mu_;
  base::CondVar wake_;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace tessera::api
