#include "api/rpc/executor.h"

#include <utility>

namespace tessera::api {

Executor::Executor(int threads, size_t queue_max) : queue_max_(queue_max) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

Executor::~Executor() {
  {
    base::MutexLock lock(&mu_);
    stopped_ = true;
    wake_.SignalAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

bool Executor::Submit(std::function<void()> task) {
  base::MutexLock lock(&mu_);
  if (queue_.size() >= queue_max_) return false;
  queue_.push_back(std::move(task));
  wake_.Signal();
  return true;
}

void Executor::Resume(std::function<void()> task) {
  base::MutexLock lock(&mu_);
  queue_.push_back(std::move(task));
  wake_.Signal();
}

void Executor::Work() {
  for (;;) {
    std::function<void()> task;
    {
      base::MutexLock lock(&mu_);
      while (queue_.empty() && !stopped_) wake_.Wait(&mu_);
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task();
  }
}

}  // namespace tessera::api
