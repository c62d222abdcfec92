// Which maintenance job runs next: a queue without threads or a clock of its own, so that tests
// decide both.
//
// An owner (a collection) has at most one job, waiting or running. Of those that are due the most
// urgent goes first, of equals that of the owner that has been served least: an owner with work
// without end takes no more than its share. A job that fails waits longer from time to time.
//
// Threads: one at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"

namespace tessera::db {

// Short jobs have a thread that long ones never take.
enum class JobLength { kShort, kLong };

struct Job {
  uint64_t owner = 0;
  JobLength length = JobLength::kShort;
  int urgency = 0;
  std::string what;                   // for messages
  std::function<absl::Status()> run;  // kCancelled and kNotFound: there is nothing to do any more
};

class JobQueue {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  static constexpr Duration kRetryFirst = std::chrono::seconds(1);
  static constexpr Duration kRetryMax = std::chrono::minutes(1);

  // Adds a job, due at `due`. Of two jobs of one owner that wait the more urgent one stays, the
  // later on a tie, at the earlier time; but a job that has failed waits out its time. While one of
  // the owner runs, it waits for its end.
  void Submit(Job job, Time due);

  // The next job that is due, which runs from now on; long ones only if `long_too`.
  std::optional<Job> Next(Time now, bool long_too);
  // A job that runs has ended, having taken `took`. True: it failed and will be tried again.
  bool Done(const Job& job, const absl::Status& status, Time now, Duration took);
  // When the next waiting job is due; it may be of the past.
  std::optional<Time> NextDue(bool long_too) const;

  // Drops what waits. Jobs that run end as they like.
  void Clear();
  bool Idle() const { return waiting_.empty() && owners_running_ == 0; }

 private:
  struct Waiting {
    Job job;
    Time due;
    Time not_before;  // after a failure
    uint64_t order = 0;
  };
  struct Owner {
    Duration served{};
    int failures = 0;
    Time not_before{};
    bool running = false;
  };

  bool Runnable(const Waiting& waiting, bool long_too) const;
  void Forget(uint64_t owner);

  std::map<uint64_t, Waiting> waiting_;  // by owner
  std::map<uint64_t, Owner> owners_;     // that wait, run, or were served
  size_t owners_running_ = 0;
  uint64_t next_order_ = 0;
};

}  // namespace tessera::db
