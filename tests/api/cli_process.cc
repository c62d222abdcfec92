#include "tests/api/cli_process.h"

#include <cerrno>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"

namespace tessera::api {

ChildProcess::ChildProcess(const std::vector<std::string>& words, bool keep_errors) {
  std::vector<std::string> all = {TESSERA_BINARY};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (std::string& word : all) argv.push_back(word.data());
  argv.push_back(nullptr);
  int ends[2];
  TESSERA_CHECK(::pipe2(ends, O_CLOEXEC) == 0);
  pid_ = ::fork();
  TESSERA_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // no server outlives a test that died
    ::dup2(ends[1], STDOUT_FILENO);
    if (keep_errors) ::dup2(ends[1], STDERR_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  output_ = ends[0];
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    Wait();
  }
  ::close(output_);
}

std::string ChildProcess::ReadLine() {
  std::string line;
  char byte;
  while (::read(output_, &byte, 1) == 1 && byte != '\n') line += byte;
  return line;
}

std::string ChildProcess::ReadAll() {
  std::string all;
  char bytes[4096];
  for (;;) {
    const ssize_t got = ::read(output_, bytes, sizeof(bytes));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return all;
    all.append(bytes, static_cast<size_t>(got));
  }
}

void ChildProcess::Signal(int signal) const {
  TESSERA_CHECK(::kill(pid_, signal) == 0);
}

int ChildProcess::Wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0) TESSERA_CHECK(errno == EINTR);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

ChildResult RunChild(const std::vector<std::string>& words) {
  ChildProcess child(words, true);
  std::string out = child.ReadAll();
  return {.code = child.Wait(), .out = std::move(out)};
}

}  // namespace tessera::api
