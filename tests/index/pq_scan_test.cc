#include "index/kernels/pq_scan.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/support/seed.h"

namespace tessera::index {
namespace {

class PqScanLevels : public testing::TestWithParam<base::CpuLevel> {};

INSTANTIATE_TEST_SUITE_P(All, PqScanLevels, testing::ValuesIn(base::SupportedCpuLevels()),
                         [](const auto& test) { return std::string(base::ToString(test.param)); });

struct Blocks {
  size_t pairs;
  size_t count;
  std::vector<uint8_t> table;
  std::vector<std::byte> bytes;
  std::vector<uint64_t> eligible;
};

Blocks RandomBlocks(std::mt19937_64& rng, size_t pairs, size_t count) {
  Blocks b{.pairs = pairs, .count = count, .table = {}, .bytes = {}, .eligible = {}};
  // As large as sums of a byte a pair and of 15 bits in all allow.
  const uint64_t most = std::min<uint64_t>(255, 32767 / pairs);
  for (size_t pair = 0; pair < pairs; ++pair) {
    const uint64_t first = rng() % (most + 1);
    for (size_t w = 0; w < 16; ++w) {
      b.table.push_back(static_cast<uint8_t>(first - w % (first + 1)));
    }
    for (size_t w = 0; w < 16; ++w) {
      b.table.push_back(static_cast<uint8_t>(w == 3 ? most - first : rng() % (most - first + 1)));
    }
  }
  for (size_t i = 0; i < count * PqScanBlockBytes(pairs); ++i) {
    b.bytes.push_back(static_cast<std::byte>(rng()));
  }
  for (size_t i = 0; i < count; ++i) {
    b.eligible.push_back(i % 3 == 0 ? ~uint64_t{0} : i % 3 == 1 ? rng() : 0);
  }
  return b;
}

int SumOf(const Blocks& b, size_t block, size_t row) {
  int sum = 0;
  for (size_t pair = 0; pair < b.pairs; ++pair) {
    const size_t at = block * PqScanBlockBytes(b.pairs) + 64 * (1 + pair) + row;
    const auto codes = std::to_integer<unsigned>(b.bytes[at]);
    sum += b.table[32 * pair + codes % 16] + b.table[32 * pair + 16 + codes / 16];
  }
  return sum;
}

TEST_P(PqScanLevels, RowsPassAndSumAsDefined) {
  std::mt19937_64 rng(TestSeed());
  const PqScanKernels& kernels = PqScanFor(GetParam());
  EXPECT_EQ(kernels.level, GetParam());
  for (const size_t pairs : {1, 2, 3, 25, 32, 128, 129, 4096}) {
    const size_t count = pairs > 1000 ? 2 : 5;
    const Blocks b = RandomBlocks(rng, pairs, count);
    for (int round = 0; round < 8; ++round) {
      // Around the sums that occur, and at the ends of the range.
      const auto coef = static_cast<int16_t>(round == 0   ? 0
                                             : round == 1 ? -32767
                                             : round == 2 ? 32767
                                                          : static_cast<int>(rng() % 400) - 200);
      const int centre = SumOf(b, 0, rng() % 64) - 128 * coef / 256;
      const int room = 32767 - std::abs(int{coef});
      const auto base = static_cast<int16_t>(round == 0 ? -1 : std::clamp(centre, -room, room));
      const std::vector<std::byte> ahead(count * PqScanBlockBytes(pairs));
      PqScanArgs args{.table = b.table.data(),
                      .pairs = pairs,
                      .blocks = b.bytes.data(),
                      .block_count = count,
                      .eligible = b.eligible.data(),
                      .coef = coef,
                      .base = base,
                      .prefetch = ahead.data(),
                      .prefetch_blocks = count - 1};
      std::vector<uint64_t> passed(count, 77);
      std::vector<uint16_t> sums(count * 64, 12345);
      kernels.scan(args, passed.data(), sums.data());
      for (size_t block = 0; block < count; ++block) {
        uint64_t wanted = 0;
        for (size_t row = 0; row < 64; ++row) {
          const auto a = std::to_integer<int>(b.bytes[block * PqScanBlockBytes(pairs) + row]);
          // Floor of the term plus a half.
          const int term = (a * coef + 128) >> 8;
          if (SumOf(b, block, row) > base + term) wanted |= uint64_t{1} << row;
        }
        wanted &= b.eligible[block];
        ASSERT_EQ(passed[block], wanted) << pairs << " pairs, round " << round;
        for (size_t row = 0; row < 64; ++row) {
          ASSERT_EQ(sums[block * 64 + row], wanted == 0 ? 12345 : SumOf(b, block, row));
        }
      }
    }
  }
}

}  // namespace
}  // namespace tessera::index
