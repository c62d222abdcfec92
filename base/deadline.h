// Until when something may take: a point on a clock that is never set back or forward.
//
// Wall-clock times do not do: a machine whose clock is set jumps past every deadline, or never
// reaches one. absl::Now() in addition lags behind a clock that was set back, by up to two seconds.
//
// Threads: a value type.
#pragma once

#include <chrono>

#include "absl/time/time.h"

namespace tessera::base {

class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  // Never passes.
  Deadline() = default;
  static Deadline Never() { return {}; }
  // A negative time has passed already; one beyond the clock's range never passes.
  static Deadline After(absl::Duration time);

  bool never() const { return at_ == Clock::time_point::max(); }
  bool Passed() const { return !never() && Clock::now() >= at_; }
  // Zero once it has passed; absl::InfiniteDuration() when it never does.
  absl::Duration Left() const;
  Clock::time_point at() const { return at_; }

  friend auto operator<=>(const Deadline&, const Deadline&) = default;

 private:
  explicit Deadline(Clock::time_point at) : at_(at) {}

  Clock::time_point at_ = Clock::time_point::max();
};

}  // namespace tessera::base
