#include "api/cli/stop_signal.h"

#include <cerrno>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/check.h"

namespace tessera::api {
namespace {

constexpr int kStopSignals[] = {SIGINT, SIGTERM};

// What a signal handler can reach; set before the handlers are.
volatile sig_atomic_t write_descriptor = -1;

extern "C" void TellStop(int /*signal*/) {
  const int error = errno;
  const char byte = 0;
  // The pipe is empty: it cannot block, and there is nobody to tell if it fails.
  [[maybe_unused]] const ssize_t written = ::write(write_descriptor, &byte, 1);
  errno = error;
}

}  // namespace

StopSignal::StopSignal() {
  int ends[2];
  TESSERA_CHECK(::pipe2(ends, O_CLOEXEC) == 0);
  read_descriptor_ = ends[0];
  write_descriptor = ends[1];
  struct sigaction action{};
  action.sa_handler = TellStop;
  action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
  for (const int signal : kStopSignals) TESSERA_CHECK(::sigaction(signal, &action, nullptr) == 0);
}

StopSignal::~StopSignal() {
  for (const int signal : kStopSignals) ::signal(signal, SIG_DFL);
  ::close(write_descriptor);
  ::close(read_descriptor_);
}

void StopSignal::Wait() const {
  char byte;
  while (::read(read_descriptor_, &byte, 1) < 0 && errno == EINTR) {
  }
}

}  // namespace tessera::api
