#include "base/clock.h"

#include "absl/time/clock.h"

namespace tessera::base {
namespace {

class WallClock final : public Clock {
 public:
  absl::Time Now() override { return absl::Now(); }
};

}  // namespace

Clock& SystemClock() {
  static WallClock clock;
  return clock;
}

}  // namespace tessera::base
