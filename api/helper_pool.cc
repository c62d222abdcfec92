#include "api/helper_pool.h"

namespace tessera::api {

HelperPool::HelperPool(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Help(); });
}

HelperPool::~HelperPool() {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    stopped_ = true;
    wake_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

void HelperPool::Run(int helpers, const std::function<void()>& work) {
  if (helpers <= 0 || threads_.empty()) return work();
  Job job{.work = work, .wanted = helpers, .running = 0, .ended = {}};
  {
    const std::lock_guard<std::mutex> lock(mu_);
    jobs_.push_back(&job);
    if (helpers == 1) {
      wake_.notify_one();
    } else {
      wake_.notify_all();
    }
  }
  work();
  std::unique_lock<std::mutex> lock(mu_);
  jobs_.remove(&job);  // there is nothing left for a helper that comes now
  job.ended.wait(lock, [&job] { return job.running == 0; });
}

void HelperPool::Help() {
  std::unique_lock<std::mutex> lock(mu_);
  for (;;) {
    wake_.wait(lock, [this] { return stopped_ || !jobs_.empty(); });
    if (stopped_) return;
    Job* const job = jobs_.front();
    if (--job->wanted == 0) jobs_.pop_front();
    ++job->running;
    lock.unlock();
    job->work();
    lock.lock();
    // Under the lock: `job` ends with its Run as soon as that sees 0.
    if (--job->running == 0) job->ended.notify_one();
  }
}

}  // namespace tessera::api
