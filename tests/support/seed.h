// The seed of a randomised test, printed so that a failure can be run again.
#pragma once

#include <cstdint>

namespace tessera::inline test {

// One number per process: the environment variable TESSERA_TEST_SEED if it is set, else drawn
// afresh. Prints "TESSERA_TEST_SEED=<seed>" at the first call. Threads: any.
uint64_t TestSeed();

}  // namespace tessera::inline test
