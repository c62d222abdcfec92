#include <algorithm>
#include <bit>
#include <cstring>

#include <immintrin.h>

#include "query/columns/slice_kernels.h"

TESSERA_TARGET_BEGIN(TESSERA_AVX512_FEATURES)
namespace tessera::query {
namespace {

using Vec = uint64_t __attribute__((vector_size(64)));
constexpr uint32_t kLanes = sizeof(Vec) / sizeof(uint64_t);

inline bool AnyBit(const Vec& words) {
  const auto all = reinterpret_cast<const __m512i&>(words);
  return _mm512_test_epi64_mask(all, all) != 0;
}
inline uint32_t CountBits(uint64_t bits) {
  return static_cast<uint32_t>(_mm_popcnt_u64(bits));
}
inline uint64_t DepositBits(uint64_t bits, uint64_t mask) {
  return _pdep_u64(bits, mask);
}

#include "query/columns/slice_loops.h"

}  // namespace
}  // namespace tessera::query
TESSERA_TARGET_END

namespace tessera::query {

const SliceKernels kSliceKernelsAvx512 = {
    .mark_range = MarkRange, .mark_tree = MarkTree, .spread = Spread};

}  // namespace tessera::query
