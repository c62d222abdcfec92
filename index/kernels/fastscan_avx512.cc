#include <immintrin.h>

#include "base/cpu.h"
#include "index/kernels/fastscan.h"

TESSERA_TARGET_BEGIN(TESSERA_AVX512_FEATURES)
namespace tessera::index {
namespace {

// Entries with bit b of their index set.
constexpr uint64_t kIndexBit[kFastScanGroupBits] = {0xAAAAAAAAAAAAAAAAULL, 0xCCCCCCCCCCCCCCCCULL,
                                                    0xF0F0F0F0F0F0F0F0ULL, 0xFF00FF00FF00FF00ULL,
                                                    0xFFFF0000FFFF0000ULL, 0xFFFFFFFF00000000ULL};

void BuildTable(const uint8_t* cleared, const uint8_t* set, size_t lines, uint8_t* table) {
  const size_t lookups = FastScanLookups(lines);
  for (size_t lookup = 0; lookup < lookups; ++lookup, cleared += 6, set += 6, table += 64) {
    __m512i sum = _mm512_setzero_si512();
    for (size_t b = 0; b < kFastScanGroupBits; ++b) {
      const __m512i value =
          _mm512_mask_mov_epi8(_mm512_set1_epi8(static_cast<char>(cleared[b])), kIndexBit[b],
                               _mm512_set1_epi8(static_cast<char>(set[b])));
      sum = _mm512_add_epi8(sum, value);
    }
    _mm512_storeu_si512(table, sum);
  }
}

inline __m512i Load(const uint8_t* p) {
  return _mm512_loadu_si512(p);
}

// Bits of `mask` from a, the others from b.
inline __m512i Select(__m512i mask, __m512i a, __m512i b) {
  return _mm512_ternarylogic_epi32(mask, a, b, 0xCA);
}

// The sum of one triple's four look-ups. Junk above an index's six bits is ignored by the permute.
inline __m512i SumTriple(const uint8_t* table, const uint8_t* codes) {
  const __m512i v0 = Load(codes);
  const __m512i v1 = Load(codes + 64);
  const __m512i v2 = Load(codes + 128);
  __m512i high = Select(_mm512_set1_epi8(0x03), _mm512_srli_epi16(v0, 6), _mm512_srli_epi16(v1, 4));
  high = Select(_mm512_set1_epi8(0x0F), high, _mm512_srli_epi16(v2, 2));
  const __m512i a = _mm512_add_epi8(_mm512_permutexvar_epi8(v0, Load(table)),
                                    _mm512_permutexvar_epi8(v1, Load(table + 64)));
  const __m512i b = _mm512_add_epi8(_mm512_permutexvar_epi8(v2, Load(table + 128)),
                                    _mm512_permutexvar_epi8(high, Load(table + 192)));
  return _mm512_add_epi8(a, b);
}

// The last one or two lines. The table repeats itself over the missing bits (they weigh 0), so
// junk in them does no harm.
inline __m512i SumTail(const uint8_t* table, const uint8_t* codes, size_t lines) {
  const __m512i v0 = Load(codes);
  __m512i high = _mm512_srli_epi16(v0, 6);
  __m512i sum = _mm512_permutexvar_epi8(v0, Load(table));
  if (lines == 2) {
    const __m512i v1 = Load(codes + 64);
    high = Select(_mm512_set1_epi8(0x03), high, _mm512_srli_epi16(v1, 4));
    sum = _mm512_add_epi8(sum, _mm512_permutexvar_epi8(v1, Load(table + 64)));
  }
  return _mm512_add_epi8(sum, _mm512_permutexvar_epi8(high, Load(table + 64 * lines)));
}

struct Sums {
  __m512i even;  // rows 0, 2, 4, ... as 16 bits
  __m512i odd;

  inline void Add(__m512i bytes) {
    even = _mm512_add_epi16(even, _mm512_and_si512(bytes, _mm512_set1_epi16(0x00FF)));
    odd = _mm512_add_epi16(odd, _mm512_srli_epi16(bytes, 8));
  }
};

inline Sums SumBlock(const uint8_t* table, const uint8_t* codes, size_t lines) {
  Sums sums{_mm512_setzero_si512(), _mm512_setzero_si512()};
  size_t left = lines;
  while (left >= 9) {
    __m512i bytes = SumTriple(table, codes);
    bytes = _mm512_add_epi8(bytes, SumTriple(table + 256, codes + 192));
    bytes = _mm512_add_epi8(bytes, SumTriple(table + 512, codes + 384));
    sums.Add(bytes);
    table += 768;
    codes += 576;
    left -= 9;
  }
  if (left == 0) return sums;
  __m512i bytes = _mm512_setzero_si512();
  for (; left >= 3; left -= 3, table += 256, codes += 192) {
    bytes = _mm512_add_epi8(bytes, SumTriple(table, codes));
  }
  if (left > 0) bytes = _mm512_add_epi8(bytes, SumTail(table, codes, left));
  sums.Add(bytes);
  return sums;
}

struct Threshold {
  __m512i coef_a;
  __m512i coef_b;
  __m512i base;

  // a7, b7: factors of every second row, shifted left by 7.
  inline __m512i At(__m512i a7, __m512i b7) const {
    return _mm512_adds_epi16(
        base, _mm512_adds_epi16(_mm512_mulhrs_epi16(a7, coef_a), _mm512_mulhrs_epi16(b7, coef_b)));
  }
};

inline uint64_t PassingRows(const Sums& sums, const uint8_t* factors, const Threshold& threshold) {
  const __m512i a = Load(factors);
  const __m512i b = Load(factors + kFastScanRows);
  const __m512i mask7 = _mm512_set1_epi16(0x7F80);
  const __m512i even = threshold.At(_mm512_and_si512(_mm512_slli_epi16(a, 7), mask7),
                                    _mm512_and_si512(_mm512_slli_epi16(b, 7), mask7));
  const __m512i odd = threshold.At(_mm512_and_si512(_mm512_srli_epi16(a, 1), mask7),
                                   _mm512_and_si512(_mm512_srli_epi16(b, 1), mask7));
  const uint64_t even_rows = _mm512_cmpgt_epi16_mask(sums.even, even);
  const uint64_t odd_rows = _mm512_cmpgt_epi16_mask(sums.odd, odd);
  return _pdep_u64(even_rows, 0x5555555555555555ULL) | _pdep_u64(odd_rows, 0xAAAAAAAAAAAAAAAAULL);
}

inline void StoreSums(const Sums& sums, uint16_t* out) {
  const __m512i low = _mm512_unpacklo_epi16(sums.even, sums.odd);   // rows 0-7, 16-23, 32-39, ..
  const __m512i high = _mm512_unpackhi_epi16(sums.even, sums.odd);  // rows 8-15, 24-31, ..
  const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
  const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  _mm512_storeu_si512(out, _mm512_permutex2var_epi64(low, first, high));
  _mm512_storeu_si512(out + 32, _mm512_permutex2var_epi64(low, second, high));
}

void Scan(const FastScanArgs& args, uint64_t* passed, uint16_t* sums) {
  const size_t stride = FastScanBlockBytes(args.lines);
  const Threshold threshold{_mm512_set1_epi16(args.threshold.coef_a),
                            _mm512_set1_epi16(args.threshold.coef_b),
                            _mm512_set1_epi16(args.threshold.base)};
  const auto* bytes = reinterpret_cast<const uint8_t*>(args.blocks);
  for (size_t block = 0; block < args.block_count; ++block, bytes += stride) {
    if (block < args.prefetch_blocks) {
      const std::byte* next = args.prefetch + block * stride;
      for (size_t at = 0; at < stride; at += 64) _mm_prefetch(next + at, _MM_HINT_T0);
    }
    passed[block] = 0;
    if (args.eligible[block] == 0) continue;
    const Sums block_sums = SumBlock(args.table, bytes + kFastScanFactorBytes, args.lines);
    passed[block] = PassingRows(block_sums, bytes, threshold) & args.eligible[block];
    if (passed[block] != 0) StoreSums(block_sums, sums + block * kFastScanRows);
  }
}

}  // namespace
}  // namespace tessera::index
TESSERA_TARGET_END

namespace tessera::index {
const FastScanKernels kFastScanAvx512{base::CpuLevel::kAvx512, BuildTable, Scan};
}  // namespace tessera::index
