#include "api/rpc/timers.h"

namespace tessera::api {

Timers::Timers() : thread_([this] { Run(); }) {}

Timers::~Timers() {
  {
    base::MutexLock lock(&mu_);
    stopped_ = true;
    wake_.SignalAll();
  }
  thread_.join();
}

uint64_t Timers::At(base::Deadline at, std::function<void()> action) {
  base::MutexLock lock(&mu_);
  const uint64_t timer = ++last_;
  if (at.never()) return timer;
  times_.emplace(timer, at);
  const auto [place, added] = actions_.emplace(Key(at, timer), std::move(action));
  // Only a new first one changes when the thread has to wake.
  if (added && place == actions_.begin()) wake_.Signal();
  return timer;
}

void Timers::Cancel(uint64_t timer) {
  if (timer == 0) return;  // none; nothing runs as 0 either
  std::function<void()> dropped;  // what it holds is let go of outside the lock
  base::MutexLock lock(&mu_);
  const auto time = times_.find(timer);
  if (time == times_.end()) {
    while (running_ == timer && std::this_thread::get_id() != thread_.get_id()) ended_.Wait(&mu_);
    return;
  }
  const auto action = actions_.find(Key(time->second, timer));
  dropped = std::move(action->second);
  actions_.erase(action);
  times_.erase(time);
}

void Timers::Run() {
  for (;;) {
    std::function<void()> action;
    {
      base::MutexLock lock(&mu_);
      while (!stopped_ && (actions_.empty() || !actions_.begin()->first.first.Passed())) {
        if (actions_.empty()) {
          wake_.Wait(&mu_);
        } else {
          wake_.WaitUntil(&mu_, actions_.begin()->first.first.at());
        }
      }
      if (stopped_) return;
      running_ = actions_.begin()->first.second;
      action = std::move(actions_.begin()->second);
      times_.erase(actions_.begin()->first.second);
      actions_.erase(actions_.begin());
    }
    action();
    base::MutexLock lock(&mu_);
    running_ = 0;
    ended_.SignalAll();
  }
}

}  // namespace tessera::api
