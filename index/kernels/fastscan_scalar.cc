#include <algorithm>
#include <array>
#include <bit>

#include "index/kernels/fastscan.h"

namespace tessera::index {
namespace {

void BuildTable(const uint8_t* cleared, const uint8_t* set, size_t lines, uint8_t* table) {
  for (size_t lookup = 0; lookup < FastScanLookups(lines); ++lookup) {
    for (size_t index = 0; index < kFastScanEntryBytes; ++index) {
      unsigned sum = 0;
      for (size_t b = 0; b < kFastScanGroupBits; ++b) {
        sum += ((index >> b) & 1) != 0 ? set[lookup * 6 + b] : cleared[lookup * 6 + b];
      }
      table[lookup * kFastScanEntryBytes + index] = static_cast<uint8_t>(sum);
    }
  }
}

void SumBlock(const uint8_t* table, const uint8_t* codes, size_t lines, uint16_t* sums) {
  std::fill_n(sums, kFastScanRows, uint16_t{0});
  const auto add = [&](size_t row, unsigned value) {
    sums[row] = static_cast<uint16_t>(sums[row] + value);
  };
  for (size_t first = 0; first < lines; first += 3) {
    const size_t here = std::min<size_t>(3, lines - first);
    for (size_t row = 0; row < kFastScanRows; ++row) {
      unsigned high = 0;
      for (size_t k = 0; k < here; ++k) {
        const unsigned byte = codes[(first + k) * kFastScanLineBytes + row];
        add(row, table[k * kFastScanEntryBytes + (byte & 63)]);
        high |= (byte >> 6) << (2 * k);
      }
      add(row, table[here * kFastScanEntryBytes + high]);
    }
    table += (here + 1) * kFastScanEntryBytes;
  }
}

int Saturate16(int value) {
  return std::clamp(value, -32768, 32767);
}

// What vpmulhrsw does to a factor shifted left by 7.
int ScaledFactor(unsigned factor, int coefficient) {
  return ((static_cast<int>(factor << 7) * coefficient >> 14) + 1) >> 1;
}

void Scan(const FastScanArgs& args, uint64_t* passed, uint16_t* sums) {
  const size_t stride = FastScanBlockBytes(args.lines);
  for (size_t block = 0; block < args.block_count; ++block, sums += kFastScanRows) {
    passed[block] = 0;
    if (args.eligible[block] == 0) continue;
    const auto* bytes = reinterpret_cast<const uint8_t*>(args.blocks + block * stride);
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): written before it is read
    std::array<uint16_t, kFastScanRows> block_sums;
    SumBlock(args.table, bytes + kFastScanFactorBytes, args.lines, block_sums.data());
    uint64_t mask = 0;
    for (size_t row = 0; row < kFastScanRows; ++row) {
      const int slope = Saturate16(ScaledFactor(bytes[row], args.threshold.coef_a) +
                                   ScaledFactor(bytes[kFastScanRows + row], args.threshold.coef_b));
      const int threshold = Saturate16(args.threshold.base + slope);
      if (block_sums[row] > threshold) mask |= uint64_t{1} << row;
    }
    passed[block] = mask & args.eligible[block];
    if (passed[block] != 0) std::copy(block_sums.begin(), block_sums.end(), sums);
  }
}

}  // namespace

const FastScanKernels kFastScanScalar{base::CpuLevel::kScalar, BuildTable, Scan};

}  // namespace tessera::index
