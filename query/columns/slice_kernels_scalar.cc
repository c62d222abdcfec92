#include <algorithm>
#include <bit>
#include <cstring>

#include "query/columns/slice_kernels.h"
#include "query/columns/words.h"

namespace tessera::query {
namespace {

using Vec = uint64_t __attribute__((vector_size(16)));
constexpr uint32_t kLanes = sizeof(Vec) / sizeof(uint64_t);

inline bool AnyBit(const Vec& words) {
  return (words[0] | words[1]) != 0;
}
inline uint32_t CountBits(uint64_t bits) {
  return static_cast<uint32_t>(std::popcount(bits));
}
inline uint64_t DepositBits(uint64_t bits, uint64_t mask) {
  return Deposit(bits, mask);
}

#include "query/columns/slice_loops.h"

}  // namespace

const SliceKernels kSliceKernelsScalar = {
    .mark_range = MarkRange, .mark_tree = MarkTree, .spread = Spread};

}  // namespace tessera::query
