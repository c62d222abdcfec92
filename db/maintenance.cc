#include "db/maintenance.h"

#include <algorithm>

namespace tessera::db {

void Maintenance::Request(uint64_t key, std::function<void()> job) {
  base::MutexLock lock(&mu_);
  const bool waits = std::any_of(waiting_.begin(), waiting_.end(),
                                 [&](const auto& entry) { return entry.first == key; });
  if (stopped_ || waits) return;
  waiting_.emplace_back(key, std::move(job));
  if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
  changed_.Signal();
}

void Maintenance::Stop() {
  std::thread thread;
  {
    base::MutexLock lock(&mu_);
    stopped_ = true;
    waiting_.clear();
    thread.swap(thread_);
    changed_.SignalAll();
  }
  if (thread.joinable()) thread.join();
}

void Maintenance::Run() {
  while (true) {
    std::function<void()> job;
    {
      base::MutexLock lock(&mu_);
      while (!stopped_ && waiting_.empty()) changed_.Wait(&mu_);
      if (stopped_) return;
      job = std::move(waiting_.front().second);
      waiting_.pop_front();
    }
    job();
  }
}

}  // namespace tessera::db
