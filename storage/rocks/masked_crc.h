// How RocksDB writes a CRC-32C beside the bytes it is of.
//
// Private to storage/. Threads: any.
#pragma once

#include <cstdint>

namespace tessera::storage {

inline uint32_t UnmaskCrc(uint32_t masked) {
  const uint32_t rotated = masked - 0xa282ead8U;
  return (rotated >> 17) | (rotated << 15);
}

}  // namespace tessera::storage
