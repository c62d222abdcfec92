#include "query/helper_pool.h"

namespace tessera::query {

HelperPool::HelperPool(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Help(); });
}

HelperPool::~HelperPool() {
  {
    base::MutexLock lock(&mu_);
    stopped_ = true;
    wake_.SignalAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

void HelperPool::Run(int helpers, const std::function<void()>& work) {
  if (helpers <= 0 || threads_.empty()) return work();
  Job job{.work = work, .wanted = helpers, .running = 0, .ended = {}};
  {
    base::MutexLock lock(&mu_);
    jobs_.push_back(&job);
    if (helpers == 1) {
      wake_.Signal();
    } else {
      wake_.SignalAll();
    }
  }
  work();
  base::MutexLock lock(&mu_);
  jobs_.remove(&job);  // there is nothing left for a helper that comes now
  while (job.running > 0) job.ended.Wait(&mu_);
}

void HelperPool::Help() {
  for (;;) {
    Job* job = nullptr;
    {
      base::MutexLock lock(&mu_);
      while (!stopped_ && jobs_.empty()) wake_.Wait(&mu_);
      if (stopped_) return;
      job = jobs_.front();
      if (--job->wanted == 0) jobs_.pop_front();
      ++job->running;
    }
    job->work();
    base::MutexLock lock(&mu_);
    // Under the lock: `job` ends with its Run as soon as that sees 0.
    if (--job->running == 0) job->ended.Signal();
  }
}

}  // namespace tessera::query
