#include <immintrin.h>

#include "index/kernels/pq_scan.h"

TESSERA_TARGET_BEGIN(TESSERA_AVX2_FEATURES)
namespace tessera::index {
namespace {

// Sums of 32 rows: lane i of even holds row 2 i, of odd row 2 i + 1.
struct Sums {
  __m256i even;
  __m256i odd;
};

Sums SumHalf(const PqScanArgs& args, const std::byte* lines) {
  const __m256i low_half = _mm256_set1_epi8(15);
  __m256i all = _mm256_setzero_si256();
  __m256i odd = _mm256_setzero_si256();
  for (size_t pair = 0; pair < args.pairs; ++pair) {
    const auto* tables = reinterpret_cast<const __m128i*>(args.table + 2 * pair * kPqScanEntries);
    const __m256i codes =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lines + pair * kPqScanRows));
    const __m256i first = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(tables)),
                                              _mm256_and_si256(codes, low_half));
    const __m256i second =
        _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(tables + 1)),
                            _mm256_and_si256(_mm256_srli_epi16(codes, 4), low_half));
    const __m256i both = _mm256_add_epi8(first, second);
    // In 16-bit lanes `all` counts the even rows and 256 times the odd ones, which wraps away.
    all = _mm256_add_epi16(all, both);
    odd = _mm256_add_epi16(odd, _mm256_srli_epi16(both, 8));
  }
  return {_mm256_sub_epi16(all, _mm256_slli_epi16(odd, 8)), odd};
}

// One bit for each 16-bit lane of two masks, in row order.
uint32_t Interleaved(__m256i even, __m256i odd) {
  // The masks' bytes are all ones or zeros: the low byte of a lane stands for its even row.
  const __m256i rows = _mm256_blendv_epi8(odd, even, _mm256_set1_epi16(0x00FF));
  return static_cast<uint32_t>(_mm256_movemask_epi8(rows));
}

uint32_t PassedOf(const PqScanArgs& args, const std::byte* factors, const Sums& sums) {
  const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(factors));
  const __m256i coef = _mm256_set1_epi16(args.coef);
  const __m256i base = _mm256_set1_epi16(args.base);
  // A * coef / 256, rounded, by the multiplication that rounds and drops 15 bits.
  const __m256i even = _mm256_slli_epi16(_mm256_and_si256(a, _mm256_set1_epi16(255)), 7);
  const __m256i odd = _mm256_slli_epi16(_mm256_srli_epi16(a, 8), 7);
  const __m256i even_limit = _mm256_add_epi16(base, _mm256_mulhrs_epi16(even, coef));
  const __m256i odd_limit = _mm256_add_epi16(base, _mm256_mulhrs_epi16(odd, coef));
  return Interleaved(_mm256_cmpgt_epi16(sums.even, even_limit),
                     _mm256_cmpgt_epi16(sums.odd, odd_limit));
}

void StoreSums(const Sums& sums, uint16_t* out) {
  const __m256i low = _mm256_unpacklo_epi16(sums.even, sums.odd);
  const __m256i high = _mm256_unpackhi_epi16(sums.even, sums.odd);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permute2x128_si256(low, high, 0x20));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 16),
                      _mm256_permute2x128_si256(low, high, 0x31));
}

void Scan(const PqScanArgs& args, uint64_t* passed, uint16_t* sums) {
  const size_t stride = PqScanBlockBytes(args.pairs);
  for (size_t i = 0; i < args.block_count; ++i) {
    const std::byte* block = args.blocks + i * stride;
    if (i < args.prefetch_blocks) {
      const std::byte* next = args.prefetch + i * stride;
      for (size_t at = 0; at < stride; at += 64) __builtin_prefetch(next + at);
    }
    passed[i] = 0;
    if (args.eligible[i] == 0) continue;
    const Sums first = SumHalf(args, block + kPqScanRows);
    const Sums second = SumHalf(args, block + kPqScanRows + 32);
    const uint64_t low = PassedOf(args, block, first);
    const uint64_t high = PassedOf(args, block + 32, second);
    passed[i] = (low | high << 32) & args.eligible[i];
    if (passed[i] == 0) continue;
    StoreSums(first, sums + i * kPqScanRows);
    StoreSums(second, sums + i * kPqScanRows + 32);
  }
}

}  // namespace
}  // namespace tessera::index
TESSERA_TARGET_END

namespace tessera::index {

const PqScanKernels kPqScanAvx2{.level = base::CpuLevel::kAvx2, .scan = Scan};

}  // namespace tessera::index
