#include "tests/fuzz/targets.h"

namespace tessera::fuzz {

std::vector<Target> AllTargets() {
  return FormatTargets();
}

}  // namespace tessera::fuzz
