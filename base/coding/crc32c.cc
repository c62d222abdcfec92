#include "base/coding/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace tessera::base {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78U;

constexpr std::array<uint32_t, 256> MakeByteTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t state = byte;
    for (int bit = 0; bit < 8; ++bit) state = (state >> 1) ^ ((state & 1) != 0 ? kPolynomial : 0);
    table[byte] = state;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kByteTable = MakeByteTable();

constexpr uint32_t UpdateByte(uint32_t state, uint8_t byte) {
  return (state >> 8) ^ kByteTable[(state ^ byte) & 0xFF];
}

#if defined(__x86_64__)

// A long input is cut into three streams of this many bytes, whose CRC instructions overlap: one
// alone would wait three cycles for each.
constexpr size_t kStreamBytes = 1024;

// What kStreamBytes zero bytes do to a state, one table per byte of it (the map is linear).
using ShiftTable = std::array<std::array<uint32_t, 256>, 4>;

ShiftTable MakeShiftTable() {
  std::array<uint32_t, 32> of_bit{};
  for (uint32_t bit = 0; bit < 32; ++bit) {
    uint32_t state = uint32_t{1} << bit;
    for (size_t i = 0; i < kStreamBytes; ++i) state = UpdateByte(state, 0);
    of_bit[bit] = state;
  }
  ShiftTable table{};
  for (uint32_t place = 0; place < 4; ++place) {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      for (uint32_t bit = 0; bit < 8; ++bit) {
        if ((byte >> bit & 1) != 0) table[place][byte] ^= of_bit[8 * place + bit];
      }
    }
  }
  return table;
}

uint32_t Shift(const ShiftTable& table, uint32_t state) {
  return table[0][state & 0xFF] ^ table[1][state >> 8 & 0xFF] ^ table[2][state >> 16 & 0xFF] ^
         table[3][state >> 24];
}

uint64_t Load64(const std::byte* at) {
  uint64_t value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

__attribute__((target("sse4.2"))) uint32_t ExtendSse42(uint32_t crc,
                                                       std::span<const std::byte> bytes) {
  static const ShiftTable shift = MakeShiftTable();
  const std::byte* at = bytes.data();
  size_t left = bytes.size();
  uint64_t state = ~crc;
  for (; left >= 3 * kStreamBytes; left -= 3 * kStreamBytes, at += 3 * kStreamBytes) {
    uint64_t second = 0;
    uint64_t third = 0;
    for (size_t i = 0; i < kStreamBytes; i += 8) {
      state = _mm_crc32_u64(state, Load64(at + i));
      second = _mm_crc32_u64(second, Load64(at + kStreamBytes + i));
      third = _mm_crc32_u64(third, Load64(at + 2 * kStreamBytes + i));
    }
    state = Shift(shift, static_cast<uint32_t>(state)) ^ second;
    state = Shift(shift, static_cast<uint32_t>(state)) ^ third;
  }
  for (; left >= 8; left -= 8, at += 8) state = _mm_crc32_u64(state, Load64(at));
  auto tail = static_cast<uint32_t>(state);
  for (; left > 0; --left, ++at) tail = _mm_crc32_u8(tail, static_cast<uint8_t>(*at));
  return ~tail;
}

#endif

}  // namespace

namespace internal {

uint32_t ExtendCrc32cPortable(uint32_t crc, std::span<const std::byte> bytes) {
  uint32_t state = ~crc;
  for (const std::byte byte : bytes) state = UpdateByte(state, static_cast<uint8_t>(byte));
  return ~state;
}

}  // namespace internal

uint32_t ExtendCrc32c(uint32_t crc, std::span<const std::byte> bytes) {
#if defined(__x86_64__)
  static const bool has_sse42 = __builtin_cpu_supports("sse4.2") != 0;
  if (has_sse42) return ExtendSse42(crc, bytes);
#endif
  return internal::ExtendCrc32cPortable(crc, bytes);
}

}  // namespace tessera::base
