#include "tests/fuzz/targets.h"

namespace tessera::fuzz {

std::vector<Target> AllTargets() {
  std::vector<Target> all;
  for (const auto& group :
       {FormatTargets(), BaseTargets(), StorageTargets(), LogTargets(), IndexTargets(),
        HeadTargets(), QueryTargets(), ColumnTargets(), VersionTargets(), RecordTargets(),
        WireTargets()}) {
    all.insert(all.end(), group.begin(), group.end());
  }
  return all;
}

}  // namespace tessera::fuzz
