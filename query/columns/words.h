// Words of 64 bits, a bit a row.
//
// Threads: free functions without shared state.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

namespace tessera::query {

inline uint32_t WordCount(uint32_t rows) {
  return (rows + 63) / 64;
}

// Bits of rows that are there in word `word` of `rows` rows.
inline uint64_t ValidBits(uint32_t rows, uint32_t word) {
  const uint32_t left = rows - word * 64;
  return left >= 64 ? ~uint64_t{0} : (uint64_t{1} << left) - 1;
}

// The `width` low bits; width 0 .. 64.
inline uint64_t LowBits(unsigned width) {
  return width >= 64 ? ~uint64_t{0} : (uint64_t{1} << width) - 1;
}

inline uint64_t LoadWord(const char* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

// Inner loops over neighbours, which compilers make vectors of.
template <unsigned kStep>
inline void SwapBits(uint64_t* x, uint64_t mask) {
  for (unsigned first = 0; first < 64; first += 2 * kStep) {
    for (unsigned k = first; k < first + kStep; ++k) {
      const uint64_t t = ((x[k] >> kStep) ^ x[k + kStep]) & mask;
      x[k] ^= t << kStep;
      x[k + kStep] ^= t;
    }
  }
}

// Bit j of x[i] becomes bit i of x[j].
// Source: Warren, Hacker's Delight, 7-3.
inline void Transpose64(uint64_t* x) {
  SwapBits<32>(x, 0x00000000FFFFFFFF);
  SwapBits<16>(x, 0x0000FFFF0000FFFF);
  SwapBits<8>(x, 0x00FF00FF00FF00FF);
  SwapBits<4>(x, 0x0F0F0F0F0F0F0F0F);
  SwapBits<2>(x, 0x3333333333333333);
  SwapBits<1>(x, 0x5555555555555555);
}

// The low bits of `bits` go where `mask` has bits, lowest first; and back.
uint64_t Deposit(uint64_t bits, uint64_t mask);
uint64_t Extract(uint64_t bits, uint64_t mask);

}  // namespace tessera::query
