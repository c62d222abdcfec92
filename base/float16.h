// IEEE 754 binary16 <-> binary32, one value at a time; the reference for the vector kernels.
//
// Threads: free functions without shared state.
#pragma once

#include <cstdint>

namespace tessera::base {

// Rounds to nearest, ties to even; too large becomes infinity, a NaN stays a (quiet) NaN.
uint16_t F32ToF16(float value);

// Exact; a signalling NaN becomes quiet.
float F16ToF32(uint16_t bits);

}  // namespace tessera::base
