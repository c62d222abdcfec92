// The real binary as a child process.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

namespace tessera::api {

// Threads: one.
class ChildProcess {
 public:
  // Starts the `tessera` of this build with `words`; its standard error is this process's own
  // unless `keep_errors`, which joins it to what ReadLine and ReadAll give.
  explicit ChildProcess(const std::vector<std::string>& words, bool keep_errors = false);
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  // Kills what still runs.
  ~ChildProcess();

  // The next line of its standard output without its end; "" at the end.
  std::string ReadLine();
  std::string ReadAll();

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // Its exit code; minus the number of the signal that ended it.
  int Wait();

 private:
  pid_t pid_ = -1;
  int output_ = -1;
};

struct ChildResult {
  int code = -1;
  std::string out;  // standard output and error
};

ChildResult RunChild(const std::vector<std::string>& words);

}  // namespace tessera::api
