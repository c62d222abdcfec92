// The code plane's header, for the RaBitQ codec's own files.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::index::rabitq {

inline constexpr uint32_t kPlaneMagic = 0x31515254;  // "TRQ1"
inline constexpr size_t kPlaneHeaderBytes = 64;
inline constexpr size_t kFineFactorBytes = 8;

// Steps of a one-byte factor.
struct FactorRange {
  float offset = 0;
  float scale = 0;
};

struct PlaneHeader {
  uint32_t rows = 0;
  uint32_t lines = 0;
  FactorRange a;
  FactorRange b;
};

void StoreHeader(const PlaneHeader& header, std::byte* plane);
PlaneHeader LoadHeader(const std::byte* plane);

}  // namespace tessera::index::rabitq
