// The code plane's header, for the PQ codec's own files.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::index::pq {

inline constexpr uint32_t kPlaneMagic = 0x31515054;  // "TPQ1"
inline constexpr size_t kPlaneHeaderBytes = 64;

struct PlaneHeader {
  uint32_t rows = 0;
  uint32_t lines = 0;
  float a_offset = 0;
  float a_scale = 0;
  float error = 0;  // root mean square of |r - r^|
};

void StoreHeader(const PlaneHeader& header, std::byte* plane);
PlaneHeader LoadHeader(const std::byte* plane);

}  // namespace tessera::index::pq
