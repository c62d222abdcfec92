// The threads of maintenance: one that runs short jobs only, so that no rebuild of an hour keeps
// the rows of another collection waiting, and others that run whatever is next
// (db/jobs/job_queue.h).
//
// Threads: every call from any thread.
#pragma once

#include <functional>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"

#include "base/mutex.h"
#include "db/jobs/job_queue.h"

namespace tessera::db {

class Scheduler {
 public:
  Scheduler() = default;
  ~Scheduler() { Stop(); }
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Runs the job, not before `delay` has passed; see JobQueue::Submit. After Stop nothing happens.
  // An exception of the job is a failure.
  void Submit(Job job, JobQueue::Duration delay = {});

  // Drops what waits and returns when the jobs that run have ended.
  void Stop();

 private:
  void Start() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Run(bool long_too);

  base::Mutex mu_;
  base::CondVar changed_;
  JobQueue queue_ ABSL_GUARDED_BY(mu_);
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mu_);  // started by the first job
};

// `run`, with exceptions as statuses: kResourceExhausted for lack of memory, else kInternal.
absl::Status WithoutExceptions(std::string_view what, const std::function<absl::Status()>& run);

}  // namespace tessera::db
