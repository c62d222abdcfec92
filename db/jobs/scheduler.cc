#include "db/jobs/scheduler.h"

#include <cstdio>
#include <exception>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/strings.h"
#include "base/thread_priority.h"

namespace tessera::db {
namespace {

// That run long jobs too: two, so that a long one does not keep all others waiting.
constexpr int kGeneralThreads = 2;

}  // namespace

absl::Status WithoutExceptions(std::string_view what, const std::function<absl::Status()>& run) {
  try {
    return run();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(base::Sv(what), ": out of memory"));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat(base::Sv(what), ": ", error.what()));
  }
}

void Scheduler::Submit(Job job, JobQueue::Duration delay) {
  base::MutexLock lock(&mu_);
  if (stopped_) return;
  queue_.Submit(std::move(job), std::chrono::steady_clock::now() + delay);
  if (threads_.empty()) Start();
  changed_.SignalAll();
}

void Scheduler::Start() {
  threads_.emplace_back([this] { Run(/*long_too=*/false); });
  for (int i = 0; i < kGeneralThreads; ++i) {
    threads_.emplace_back([this] { Run(/*long_too=*/true); });
  }
}

void Scheduler::Stop() {
  std::vector<std::thread> threads;
  {
    base::MutexLock lock(&mu_);
    stopped_ = true;
    queue_.Clear();
    threads.swap(threads_);
    changed_.SignalAll();
  }
  for (std::thread& thread : threads) thread.join();
}

// Searches go first: an absorption on as many threads as there are cores tripled the 99th
// percentile of those beside it. Writers that wait for room absorb in their own thread, which does
// not yield.
void Scheduler::Run(bool long_too) {
  base::YieldToOthers();
  base::MutexLock lock(&mu_);
  while (!stopped_) {
    const JobQueue::Time begin = std::chrono::steady_clock::now();
    std::optional<Job> job = queue_.Next(begin, long_too);
    if (!job.has_value()) {
      if (const auto due = queue_.NextDue(long_too); due.has_value()) {
        changed_.WaitUntil(&mu_, *due);
      } else {
        changed_.Wait(&mu_);
      }
      continue;
    }
    mu_.Unlock();
    const absl::Status status = WithoutExceptions(job->what, job->run);
    const JobQueue::Time end = std::chrono::steady_clock::now();
    mu_.Lock();
    const bool again = queue_.Done(*job, status, end, end - begin);
    if (again) {
      std::fprintf(stderr, "tessera: %s failed and will be tried again: %s\n", job->what.c_str(),
                   status.ToString().c_str());
    }
    // What the job holds may be the last reference to something that takes locks as it goes.
    mu_.Unlock();
    job.reset();
    mu_.Lock();
    changed_.SignalAll();
  }
}

}  // namespace tessera::db
