// What the calling thread allocates with new; linking it in replaces the global operators.
//
// Threads: each sees its own.
#pragma once

#include <cstddef>

namespace tessera::index {

// The largest allocation in bytes since the reset.
size_t LargestAllocation();
void ResetLargestAllocation();

}  // namespace tessera::index
