#include "base/deadline.h"

#include <algorithm>

namespace tessera::base {

Deadline Deadline::After(absl::Duration time) {
  const Clock::time_point now = Clock::now();
  if (time >= absl::FromChrono(Clock::time_point::max() - now)) return Never();
  return Deadline(now + absl::ToChronoNanoseconds(std::max(time, absl::ZeroDuration())));
}

absl::Duration Deadline::Left() const {
  if (never()) return absl::InfiniteDuration();
  return std::max(absl::ZeroDuration(), absl::FromChrono(at_ - Clock::now()));
}

}  // namespace tessera::base
