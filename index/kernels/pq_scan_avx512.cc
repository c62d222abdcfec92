#include <immintrin.h>

#include "index/kernels/pq_scan.h"

TESSERA_TARGET_BEGIN(TESSERA_AVX512_FEATURES)
namespace tessera::index {
namespace {

// Sums of 64 rows: lane i of even holds row 2 i, of odd row 2 i + 1.
struct Sums {
  __m512i even;
  __m512i odd;
};

Sums SumBlock(const PqScanArgs& args, const std::byte* lines) {
  const __m512i low_half = _mm512_set1_epi8(15);
  __m512i all = _mm512_setzero_si512();
  __m512i odd = _mm512_setzero_si512();
  for (size_t pair = 0; pair < args.pairs; ++pair) {
    const auto* tables = reinterpret_cast<const __m128i*>(args.table + 2 * pair * kPqScanEntries);
    const __m512i codes = _mm512_loadu_si512(lines + pair * kPqScanRows);
    // Zeroing broadcasts: the plain ones warn of an uninitialised operand under GCC 12.
    const __m512i first_table = _mm512_maskz_broadcast_i32x4(0xFFFF, _mm_loadu_si128(tables));
    const __m512i second_table = _mm512_maskz_broadcast_i32x4(0xFFFF, _mm_loadu_si128(tables + 1));
    const __m512i first = _mm512_shuffle_epi8(first_table, _mm512_and_si512(codes, low_half));
    const __m512i second =
        _mm512_shuffle_epi8(second_table, _mm512_and_si512(_mm512_srli_epi16(codes, 4), low_half));
    const __m512i both = _mm512_add_epi8(first, second);
    // In 16-bit lanes `all` counts the even rows and 256 times the odd ones, which wraps away.
    all = _mm512_add_epi16(all, both);
    odd = _mm512_add_epi16(odd, _mm512_srli_epi16(both, 8));
  }
  return {_mm512_sub_epi16(all, _mm512_slli_epi16(odd, 8)), odd};
}

uint64_t PassedOf(const PqScanArgs& args, const std::byte* factors, const Sums& sums) {
  const __m512i a = _mm512_loadu_si512(factors);
  const __m512i coef = _mm512_set1_epi16(args.coef);
  const __m512i base = _mm512_set1_epi16(args.base);
  // A * coef / 256, rounded, by the multiplication that rounds and drops 15 bits.
  const __m512i even = _mm512_slli_epi16(_mm512_and_si512(a, _mm512_set1_epi16(255)), 7);
  const __m512i odd = _mm512_slli_epi16(_mm512_srli_epi16(a, 8), 7);
  const __m512i even_limit = _mm512_add_epi16(base, _mm512_mulhrs_epi16(even, coef));
  const __m512i odd_limit = _mm512_add_epi16(base, _mm512_mulhrs_epi16(odd, coef));
  const uint64_t even_rows = _mm512_cmpgt_epi16_mask(sums.even, even_limit);
  const uint64_t odd_rows = _mm512_cmpgt_epi16_mask(sums.odd, odd_limit);
  return _pdep_u64(even_rows, 0x5555555555555555) | _pdep_u64(odd_rows, 0xAAAAAAAAAAAAAAAA);
}

void StoreSums(const Sums& sums, uint16_t* out) {
  const __m512i low = _mm512_unpacklo_epi16(sums.even, sums.odd);
  const __m512i high = _mm512_unpackhi_epi16(sums.even, sums.odd);
  const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
  const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  _mm512_storeu_si512(out, _mm512_permutex2var_epi64(low, first, high));
  _mm512_storeu_si512(out + 32, _mm512_permutex2var_epi64(low, second, high));
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
    const Sums block_sums = SumBlock(args, block + kPqScanRows);
    passed[i] = PassedOf(args, block, block_sums) & args.eligible[i];
    if (passed[i] != 0) StoreSums(block_sums, sums + i * kPqScanRows);
  }
}

}  // namespace
}  // namespace tessera::index
TESSERA_TARGET_END

namespace tessera::index {

const PqScanKernels kPqScanAvx512{.level = base::CpuLevel::kAvx512, .scan = Scan};

}  // namespace tessera::index
