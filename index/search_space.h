// Search space: the coordinates in which lists are built, encoded and probed.
//
// A row or query in search space is f32 [dim]: under L2 and inner product the vector as it was sent
// times a power of two, the unit of the index; under cosine it is of unit length, a zero vector
// stays zero, and the unit is 1.
//
// The unit is 1 for ordinary data. Of rows whose components are all tiny or some enormous, it
// brings the largest to the nearer end of 2^-30 .. 2^30: squares, their sums and their quotients,
// which is what heads and codes are made of, then stay in the middle of f32's range, and powers of
// two round nothing. Rows that come later may be 2^20 times larger than all before; what is beyond
// that is cut, so that the index misplaces such a row, until it is built anew.
//
// Threads: free functions without shared state.
#pragma once

#include <span>

#include "base/types.h"

namespace tessera::index {

// No component in search space is larger.
inline constexpr float kSearchComponentMost = 0x1p50F;

// The unit for rows like these. Shape: any number of finite components, as they were sent.
float UnitFor(base::Metric metric, std::span<const float> components);

// Whether it is a power of two within the range of normal f32 numbers.
bool IsUnit(float unit);

// Multiplies by the unit and cuts at kSearchComponentMost.
void ApplyUnit(float unit, std::span<float> components);

}  // namespace tessera::index
