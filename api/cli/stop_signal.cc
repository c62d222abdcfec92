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

static_assert(std::atomic<bool>::is_always_lock_free);
std::atomic<bool> stop_flag{false};

// A signal that comes just before a read begins does not end it: the alarm does.
extern "C" void RingAgain(int /*signal*/) {
  ::alarm(1);
}

extern "C" void RaiseStopFlag(int /*signal*/) {
  stop_flag.store(true);
  ::alarm(1);
}

void Handle(void (*handler)(int), int flags) {
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = flags | static_cast<int>(SA_RESETHAND);
  for (const int signal : kStopSignals) TESSERA_CHECK(::sigaction(signal, &action, nullptr) == 0);
}

void StopHandling() {
  for (const int signal : kStopSignals) ::signal(signal, SIG_DFL);
}

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
  Handle(TellStop, SA_RESTART);
}

StopSignal::~StopSignal() {
  StopHandling();
  ::close(write_descriptor);
  ::close(read_descriptor_);
}

void StopSignal::Wait() const {
  char byte;
  while (::read(read_descriptor_, &byte, 1) < 0 && errno == EINTR) {
  }
}

StopFlag::StopFlag() {
  stop_flag.store(false);
  struct sigaction action{};
  action.sa_handler = RingAgain;
  TESSERA_CHECK(::sigaction(SIGALRM, &action, nullptr) == 0);
  Handle(RaiseStopFlag, 0);
}

StopFlag::~StopFlag() {
  StopHandling();
  ::alarm(0);
  ::signal(SIGALRM, SIG_IGN);  // one may be on its way
}

std::atomic<bool>& StopFlag::flag() {
  return stop_flag;
}

}  // namespace tessera::api
