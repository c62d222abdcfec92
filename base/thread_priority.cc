#include "base/thread_priority.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace tessera::base {
namespace {

// A tenth of the processor time of a thread that it competes with.
constexpr int kNice = 10;

}  // namespace

void YieldToOthers() {
  const auto thread = static_cast<id_t>(syscall(SYS_gettid));
  static_cast<void>(setpriority(PRIO_PROCESS, thread, kNice));
}

}  // namespace tessera::base
