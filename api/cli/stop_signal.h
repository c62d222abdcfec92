// SIGINT and SIGTERM as something a thread can wait for.
//
// A handler and a pipe, not sigwait: libraries start threads before main begins, which would not
// have the signals blocked and would take them with their default action.
//
// Threads: Wait from any; one object of either class at a time.
#pragma once

#include <atomic>

namespace tessera::api {

class StopSignal {
 public:
  // From here on the first SIGINT or SIGTERM is kept for Wait. A second of the same kind ends the
  // process at once.
  StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  ~StopSignal();

  void Wait() const;

 private:
  int read_descriptor_ = -1;
};

// The same as a flag, for a command that looks now and then. Reads that wait for input end too,
// with EINTR.
class StopFlag {
 public:
  // From here on the first SIGINT or SIGTERM raises the flag. A second of the same kind ends the
  // process at once.
  StopFlag();
  StopFlag(const StopFlag&) = delete;
  StopFlag& operator=(const StopFlag&) = delete;
  ~StopFlag();

  std::atomic<bool>& flag();
};

}  // namespace tessera::api
