#include "index/kernels/pq_scan.h"

namespace tessera::index {
namespace {

uint16_t SumOf(const PqScanArgs& args, const std::byte* block, size_t row) {
  unsigned sum = 0;
  for (size_t pair = 0; pair < args.pairs; ++pair) {
    const auto codes = std::to_integer<unsigned>(block[kPqScanRows * (1 + pair) + row]);
    const uint8_t* table = args.table + 2 * pair * kPqScanEntries;
    sum += table[codes & 15];
    sum += table[kPqScanEntries + (codes >> 4)];
  }
  return static_cast<uint16_t>(sum);
}

void Scan(const PqScanArgs& args, uint64_t* passed, uint16_t* sums) {
  for (size_t i = 0; i < args.block_count; ++i) {
    const std::byte* block = args.blocks + i * PqScanBlockBytes(args.pairs);
    passed[i] = 0;
    if (args.eligible[i] == 0) continue;
    uint16_t block_sums[kPqScanRows];
    for (size_t row = 0; row < kPqScanRows; ++row) {
      block_sums[row] = SumOf(args, block, row);
      const auto factor = std::to_integer<int>(block[row]);
      const int threshold = args.base + ((factor * args.coef + 128) >> 8);
      if (block_sums[row] > threshold) passed[i] |= uint64_t{1} << row;
    }
    passed[i] &= args.eligible[i];
    if (passed[i] == 0) continue;
    for (size_t row = 0; row < kPqScanRows; ++row) sums[i * kPqScanRows + row] = block_sums[row];
  }
}

}  // namespace

const PqScanKernels kPqScanScalar{.level = base::CpuLevel::kScalar, .scan = Scan};

}  // namespace tessera::index
