#include <immintrin.h>

#include "base/cpu.h"
#include "index/kernels/fastscan.h"

TESSERA_TARGET_BEGIN(TESSERA_AVX2_FEATURES)
namespace tessera::index {
namespace {

// A group's entry is 32 bytes of the 64: sums over its low three bits, 8 values twice, and over its
// high three bits, 8 values twice. Byte shuffles see four index bits; the doubling makes the
// fourth one harmless.
void BuildTable(const uint8_t* cleared, const uint8_t* set, size_t lines, uint8_t* table) {
  const size_t lookups = FastScanLookups(lines);
  for (size_t lookup = 0; lookup < lookups; ++lookup, cleared += 6, set += 6, table += 64) {
    for (size_t half = 0; half < 2; ++half) {
      for (size_t index = 0; index < 16; ++index) {
        unsigned sum = 0;
        for (size_t b = 0; b < 3; ++b) {
          sum += ((index >> b) & 1) != 0 ? set[3 * half + b] : cleared[3 * half + b];
        }
        table[16 * half + index] = static_cast<uint8_t>(sum);
      }
    }
  }
}

inline __m256i Load(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

inline __m256i LoadBoth(const uint8_t* p) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

// Looks up the six low bits of every byte; bits 6 and 7 may be anything.
inline __m256i LookUp(const uint8_t* entry, __m256i index) {
  const __m256i mask = _mm256_set1_epi8(0x0F);
  const __m256i low = _mm256_and_si256(index, mask);
  const __m256i high = _mm256_and_si256(_mm256_srli_epi16(index, 3), _mm256_set1_epi8(0x07));
  return _mm256_add_epi8(_mm256_shuffle_epi8(LoadBoth(entry), low),
                         _mm256_shuffle_epi8(LoadBoth(entry + 16), high));
}

inline __m256i Bits(__m256i value, char mask) {
  return _mm256_and_si256(value, _mm256_set1_epi8(mask));
}

// The look-ups of 1 .. 3 lines for 32 rows.
inline __m256i SumLines(const uint8_t* table, const uint8_t* codes, size_t lines) {
  const __m256i v0 = Load(codes);
  __m256i sum = LookUp(table, v0);
  __m256i high = Bits(_mm256_srli_epi16(v0, 6), 0x03);
  if (lines > 1) {
    const __m256i v1 = Load(codes + 64);
    sum = _mm256_add_epi8(sum, LookUp(table + 64, v1));
    high = _mm256_or_si256(high, Bits(_mm256_srli_epi16(v1, 4), 0x0C));
  }
  if (lines > 2) {
    const __m256i v2 = Load(codes + 128);
    sum = _mm256_add_epi8(sum, LookUp(table + 128, v2));
    high = _mm256_or_si256(high, Bits(_mm256_srli_epi16(v2, 2), 0x30));
  }
  return _mm256_add_epi8(sum, LookUp(table + 64 * lines, high));
}

struct Sums {
  __m256i even;  // rows 0, 2, 4, ... of 32 as 16 bits
  __m256i odd;

  inline void Add(__m256i bytes) {
    even = _mm256_add_epi16(even, _mm256_and_si256(bytes, _mm256_set1_epi16(0x00FF)));
    odd = _mm256_add_epi16(odd, _mm256_srli_epi16(bytes, 8));
  }
};

inline Sums SumHalfBlock(const uint8_t* table, const uint8_t* codes, size_t lines) {
  Sums sums{_mm256_setzero_si256(), _mm256_setzero_si256()};
  while (lines >= 9) {
    __m256i bytes = SumLines(table, codes, 3);
    bytes = _mm256_add_epi8(bytes, SumLines(table + 256, codes + 192, 3));
    bytes = _mm256_add_epi8(bytes, SumLines(table + 512, codes + 384, 3));
    sums.Add(bytes);
    table += 768;
    codes += 576;
    lines -= 9;
  }
  __m256i bytes = _mm256_setzero_si256();
  for (; lines >= 3; lines -= 3, table += 256, codes += 192) {
    bytes = _mm256_add_epi8(bytes, SumLines(table, codes, 3));
  }
  if (lines > 0) bytes = _mm256_add_epi8(bytes, SumLines(table, codes, lines));
  sums.Add(bytes);
  return sums;
}

struct Threshold {
  __m256i coef_a;
  __m256i coef_b;
  __m256i base;

  inline __m256i At(__m256i a7, __m256i b7) const {
    return _mm256_adds_epi16(
        base, _mm256_adds_epi16(_mm256_mulhrs_epi16(a7, coef_a), _mm256_mulhrs_epi16(b7, coef_b)));
  }
};

inline uint32_t PassingRows(const Sums& sums, const uint8_t* factors, const Threshold& threshold) {
  const __m256i a = Load(factors);
  const __m256i b = Load(factors + kFastScanRows);
  const __m256i mask7 = _mm256_set1_epi16(0x7F80);
  const __m256i even = threshold.At(_mm256_and_si256(_mm256_slli_epi16(a, 7), mask7),
                                    _mm256_and_si256(_mm256_slli_epi16(b, 7), mask7));
  const __m256i odd = threshold.At(_mm256_and_si256(_mm256_srli_epi16(a, 1), mask7),
                                   _mm256_and_si256(_mm256_srli_epi16(b, 1), mask7));
  const __m256i even_rows = _mm256_cmpgt_epi16(sums.even, even);
  const __m256i odd_rows = _mm256_cmpgt_epi16(sums.odd, odd);
  const __m256i rows = _mm256_blendv_epi8(even_rows, odd_rows, _mm256_set1_epi16(-256));
  return static_cast<uint32_t>(_mm256_movemask_epi8(rows));
}

inline void StoreSums(const Sums& sums, uint16_t* out) {
  const __m256i low = _mm256_unpacklo_epi16(sums.even, sums.odd);
  const __m256i high = _mm256_unpackhi_epi16(sums.even, sums.odd);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permute2x128_si256(low, high, 0x20));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 16),
                      _mm256_permute2x128_si256(low, high, 0x31));
}

void Scan(const FastScanArgs& args, uint64_t* passed, uint16_t* sums) {
  const size_t stride = FastScanBlockBytes(args.lines);
  const Threshold threshold{_mm256_set1_epi16(args.threshold.coef_a),
                            _mm256_set1_epi16(args.threshold.coef_b),
                            _mm256_set1_epi16(args.threshold.base)};
  const auto* bytes = reinterpret_cast<const uint8_t*>(args.blocks);
  for (size_t block = 0; block < args.block_count; ++block, bytes += stride) {
    if (block < args.prefetch_blocks) {
      const std::byte* next = args.prefetch + block * stride;
      for (size_t at = 0; at < stride; at += 64) _mm_prefetch(next + at, _MM_HINT_T0);
    }
    passed[block] = 0;
    if (args.eligible[block] == 0) continue;
    const uint8_t* codes = bytes + kFastScanFactorBytes;
    const Sums low = SumHalfBlock(args.table, codes, args.lines);
    const Sums high = SumHalfBlock(args.table, codes + 32, args.lines);
    const uint64_t low_rows = PassingRows(low, bytes, threshold);
    const uint64_t high_rows = PassingRows(high, bytes + 32, threshold);
    passed[block] = (low_rows | high_rows << 32) & args.eligible[block];
    if (passed[block] == 0) continue;
    StoreSums(low, sums + block * kFastScanRows);
    StoreSums(high, sums + block * kFastScanRows + 32);
  }
}

}  // namespace
}  // namespace tessera::index
TESSERA_TARGET_END

namespace tessera::index {
const FastScanKernels kFastScanAvx2{base::CpuLevel::kAvx2, BuildTable, Scan};
}  // namespace tessera::index
