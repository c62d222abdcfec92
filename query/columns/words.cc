#include "query/columns/words.h"

namespace tessera::query {

// A bit at a time where a block has holes; full blocks and those filled from the front need no
// loop.
uint64_t Deposit(uint64_t bits, uint64_t mask) {
  if (mask == ~uint64_t{0}) return bits;
  if ((mask & (mask + 1)) == 0) return bits & mask;
  uint64_t out = 0;
  for (; mask != 0; mask &= mask - 1, bits >>= 1) {
    out |= (0 - (bits & 1)) & (mask & (0 - mask));
  }
  return out;
}

uint64_t Extract(uint64_t bits, uint64_t mask) {
  if ((mask & (mask + 1)) == 0) return bits & mask;
  uint64_t out = 0;
  for (unsigned i = 0; mask != 0; mask &= mask - 1, ++i) {
    out |= uint64_t{(bits & mask & (0 - mask)) != 0} << i;
  }
  return out;
}

}  // namespace tessera::query
