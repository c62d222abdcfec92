#include "api/rpc/executor.h"

#include <system_error>
#include <utility>

namespace tessera::api {

Executor::~Executor() {
  std::vector<std::thread> threads;
  {
    base::MutexLock lock(&mu_);
    stopped_ = true;
    threads.swap(threads_);
    wake_.SignalAll();
  }
  for (std::thread& thread : threads) thread.join();
}

bool Executor::Submit(std::string_view share, std::function<void()> task) {
  base::MutexLock lock(&mu_);
  if (queued_ >= options_.queue_max) return false;
  const auto entry = shares_.try_emplace(std::string(share)).first;
  if (entry->second.queue.size() >= options_.queue_max / 2) return false;
  Put(entry, std::move(task));
  return true;
}

void Executor::Resume(std::string_view share, std::function<void()> task) {
  base::MutexLock lock(&mu_);
  Put(shares_.try_emplace(std::string(share)).first, std::move(task));
}

void Executor::Put(Shares::iterator share, std::function<void()> task) {
  share->second.queue.push_back(std::move(task));
  ++queued_;
  Line(share);
}

void Executor::Line(Shares::iterator share) {
  Share& state = share->second;
  if (state.in_line || state.queue.empty() || state.running >= options_.share_threads_max) return;
  state.in_line = true;
  line_.push_back(share);
  // Threads that were woken for shares before it are still among the idle ones.
  if (static_cast<size_t>(idle_) < line_.size()) StartThread();
  wake_.Signal();
}

void Executor::StartThread() {
  if (stopped_ || threads_.size() >= static_cast<size_t>(options_.threads_max)) return;
  try {
    threads_.emplace_back([this] { Work(); });
  } catch (const std::system_error&) {
    if (threads_.empty()) throw;  // later rather than never, by those there are
  }
}

void Executor::Work() {
  mu_.Lock();
  for (;;) {
    ++idle_;
    while (line_.empty() && !stopped_) wake_.Wait(&mu_);
    --idle_;
    if (line_.empty()) break;
    const auto share = line_.front();
    line_.pop_front();
    Share& state = share->second;
    state.in_line = false;
    std::function<void()> task = std::move(state.queue.front());
    state.queue.pop_front();
    --queued_;
    ++state.running;
    Line(share);
    mu_.Unlock();
    task();
    task = nullptr;  // what it holds may take locks when it goes
    mu_.Lock();
    --state.running;
    Line(share);
    if (state.running == 0 && state.queue.empty()) shares_.erase(share);
  }
  mu_.Unlock();
}

}  // namespace tessera::api
