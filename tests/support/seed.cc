#include "tests/support/seed.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "base/check.h"

namespace tessera::inline test {
namespace {

uint64_t PickSeed() {
  uint64_t seed = 0;
  if (const char* text = std::getenv("TESSERA_TEST_SEED"); text != nullptr) {
    const char* const end = text + std::strlen(text);
    const auto [stop, error] = std::from_chars(text, end, seed);
    TESSERA_CHECK(error == std::errc() && stop == end);
  } else {
    std::random_device device;
    seed = uint64_t{device()} << 32 | device();
  }
  std::printf("TESSERA_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  return seed;
}

}  // namespace

uint64_t TestSeed() {
  static const uint64_t seed = PickSeed();
  return seed;
}

}  // namespace tessera::inline test
