// Values as unsigned keys with the same order.
#pragma once

#include <bit>
#include <cstdint>

namespace tessera::query {

inline constexpr uint64_t kTopBit = uint64_t{1} << 63;

inline uint64_t KeyOfInt(int64_t value) {
  return static_cast<uint64_t>(value) ^ kTopBit;
}
inline int64_t IntOfKey(uint64_t key) {
  return static_cast<int64_t>(key ^ kTopBit);
}

inline uint64_t KeyOfDouble(double value) {
  const auto bits = std::bit_cast<uint64_t>(value);
  return (bits & kTopBit) != 0 ? ~bits : bits | kTopBit;
}
inline double DoubleOfKey(uint64_t key) {
  return std::bit_cast<double>((key & kTopBit) != 0 ? key ^ kTopBit : ~key);
}

}  // namespace tessera::query
