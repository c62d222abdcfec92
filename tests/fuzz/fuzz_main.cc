// libFuzzer's entry, compiled once for each target, with the group it is of alone.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const tessera::fuzz::Target target = [] {
    for (const tessera::fuzz::Target& one : tessera::fuzz::TESSERA_FUZZ_GROUP()) {
      if (std::string_view(one.name) == TESSERA_FUZZ_TARGET) return one;
    }
    TESSERA_FATAL("no such fuzz target");
  }();
  target.run({reinterpret_cast<const char*>(data), size}).IgnoreError();
  return 0;
}
