#include "bench/engines/server_process.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "base/memory_budget.h"

namespace tessera::bench {
namespace {

constexpr absl::Duration kReadyMax = absl::Minutes(2);

std::string BinaryPath(const std::string& wanted) {
  if (!wanted.empty()) return wanted;
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return (self.parent_path() / "tessera").string();
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The first line of `fd`; kInternal when it is closed before, kDeadlineExceeded when time is over.
absl::StatusOr<std::string> ReadLine(int fd, absl::Time deadline) {
  std::string line;
  for (;;) {
    pollfd wait{fd, POLLIN, 0};
    const auto left = absl::ToInt64Milliseconds(deadline - absl::Now());
    if (left <= 0) return absl::DeadlineExceededError("the server does not become ready");
    const int got = poll(&wait, 1, static_cast<int>(left));
    if (got < 0 && errno != EINTR) return absl::InternalError(std::strerror(errno));
    if (got <= 0) continue;
    char byte = 0;
    const ssize_t count = read(fd, &byte, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return absl::InternalError("the server has ended");
    if (byte == '\n') return line;
    line.push_back(byte);
  }
}

// In the child, after fork: only async-signal-safe calls.
[[noreturn]] void RunServer(const std::vector<char*>& arguments, int out, int log, int group) {
  if (group >= 0 && write(group, "0", 1) != 1) _exit(126);
  prctl(PR_SET_PDEATHSIG, SIGTERM);  // a server must not outlive a suite that crashes
  dup2(out, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  execv(arguments[0], arguments.data());
  _exit(127);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServerProcess>> ServerProcess::Start(
    const ServerProcessOptions& options) {
  std::vector<std::string> words = {BinaryPath(options.binary), "serve",    "--data",
                                    options.data_dir,           "--listen", "127.0.0.1:0"};
  if (access(words[0].c_str(), X_OK) != 0) {
    return absl::NotFoundError(
        absl::StrCat("no program at ", words[0], "; name it with --server-binary"));
  }
  if (options.memory_limit != 0) {
    words.insert(words.end(), {"--memory-limit", absl::StrCat(options.memory_limit)});
  }
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  const int group =
      options.cgroup_procs.empty() ? -1 : open(options.cgroup_procs.c_str(), O_WRONLY | O_CLOEXEC);
  if (group < 0 && !options.cgroup_procs.empty()) {
    return absl::InternalError(absl::StrCat(options.cgroup_procs, ": ", std::strerror(errno)));
  }
  int pipes[2];
  const int log = open(options.log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0 || pipe2(pipes, O_CLOEXEC) != 0) {
    absl::Status error =
        absl::InternalError(absl::StrCat(options.log_path, ": ", std::strerror(errno)));
    if (log >= 0) close(log);
    if (group >= 0) close(group);
    return error;
  }
  const pid_t pid = fork();
  if (pid == 0) RunServer(arguments, pipes[1], log, group);
  close(pipes[1]);
  close(log);
  if (group >= 0) close(group);
  if (pid < 0) {
    close(pipes[0]);
    return absl::ResourceExhaustedError(absl::StrCat("fork: ", std::strerror(errno)));
  }
  std::unique_ptr<ServerProcess> server(new ServerProcess(pid, pipes[0]));
  const absl::StatusOr<std::string> line = ReadLine(pipes[0], absl::Now() + kReadyMax);
  if (!line.ok()) {
    return absl::Status(line.status().code(),
                        absl::StrCat(line.status().message(), ": ", ReadText(options.log_path)));
  }
  server->address_ = FindAddress(*line);
  if (server->address_.empty()) {
    return absl::InternalError(absl::StrCat("no address in the server's line \"", *line, "\""));
  }
  return server;
}

ServerProcess::~ServerProcess() {
  (void)Stop();  // whoever cares has called it
}

absl::Status ServerProcess::Stop() {
  if (pid_ == 0) return absl::OkStatus();
  kill(pid_, SIGTERM);
  int how = 0;
  while (waitpid(pid_, &how, 0) < 0 && errno == EINTR) {
  }
  close(out_);
  pid_ = 0;
  if (WIFEXITED(how) && WEXITSTATUS(how) == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("the server ended with ",
                                          WIFEXITED(how) ? "code " : "signal ",
                                          WIFEXITED(how) ? WEXITSTATUS(how) : WTERMSIG(how)));
}

std::string FindAddress(const std::string& line) {
  for (const absl::string_view word : absl::StrSplit(line, absl::ByAnyChar(" \t,;()\"'"))) {
    const size_t colon = word.rfind(':');
    uint32_t port = 0;
    if (colon != absl::string_view::npos && colon > 0 &&
        absl::SimpleAtoi(word.substr(colon + 1), &port) && port > 0 && port <= 65535) {
      return std::string(word);
    }
  }
  return "";
}

}  // namespace tessera::bench
