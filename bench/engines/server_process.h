// A `tessera serve` started and stopped by the suite.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <sys/types.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tessera::bench {

struct ServerProcessOptions {
  std::string binary;          // "" is `tessera` beside the running program
  std::string data_dir;        // made by the server when missing
  uint64_t memory_limit = 0;   // bytes; 0: the server's default
  std::string log_path;        // takes the server's messages
  std::string cgroup_procs{};  // the file that takes it into a control group; "" for none
};

class ServerProcess {
 public:
  // Returns when the server has said that it is ready.
  // Errors: kNotFound without the program; kInternal with its messages when it ends before that;
  //         kDeadlineExceeded after two minutes.
  static absl::StatusOr<std::unique_ptr<ServerProcess>> Start(const ServerProcessOptions& options);
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;
  ~ServerProcess();  // stops it

  const std::string& address() const { return address_; }  // HOST:PORT
  int pid() const { return pid_; }

  // Asks it to shut down and waits. Errors: kInternal when it does not end with code 0.
  absl::Status Stop();

 private:
  ServerProcess(pid_t pid, int out) : pid_(pid), out_(out) {}

  pid_t pid_;
  int out_;  // its standard output
  std::string address_;
};

// The first HOST:PORT in a line of text; "" without one.
std::string FindAddress(const std::string& line);

}  // namespace tessera::bench
