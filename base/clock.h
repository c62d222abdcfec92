// Time as an interface, so that tests decide what time it is.
//
// Threads: any.
#pragma once

#include "absl/time/time.h"

namespace tessera::base {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() = 0;
};

// The machine's wall clock.
Clock& SystemClock();

}  // namespace tessera::base
