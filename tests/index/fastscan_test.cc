#include "index/kernels/fastscan.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"

#include "tests/support/seed.h"

namespace tessera::index {
namespace {

constexpr size_t kLineCounts[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                  11, 12, 13, 16, 18, 27, 28, 96, 192};

const FastScanKernels* Supported(base::CpuLevel level) {
  for (const base::CpuLevel here : base::SupportedCpuLevels()) {
    if (here == level) return &FastScanFor(level);
  }
  return nullptr;
}

struct Problem {
  size_t lines;
  std::vector<uint8_t> bits;     // [rows x 8 * lines], 0 or 1
  std::vector<uint8_t> weight0;  // per bit
  std::vector<uint8_t> weight1;
  std::vector<std::byte> blocks;
  std::vector<uint8_t> cleared;  // in table order
  std::vector<uint8_t> set;
  size_t rows;
};

Problem MakeProblem(size_t lines, size_t block_count, std::mt19937_64& rng) {
  Problem p;
  p.lines = lines;
  p.rows = block_count * kFastScanRows;
  const size_t bit_count = 8 * lines;
  p.bits.resize(p.rows * bit_count);
  for (uint8_t& bit : p.bits) bit = rng() & 1;
  // The largest weights allowed: 72 bits of 3 make 216, spiced up to 255 in the first group.
  const unsigned most = lines > 96 ? 2 : 3;
  for (size_t b = 0; b < bit_count; ++b) {
    const auto weight = static_cast<uint8_t>(b == 0 ? 40 : rng() % (most + 1));
    const bool positive = (rng() & 1) != 0;
    p.weight0.push_back(positive ? 0 : weight);
    p.weight1.push_back(positive ? weight : 0);
  }
  p.blocks.assign(block_count * FastScanBlockBytes(lines), std::byte{0});
  p.cleared.assign(FastScanLookups(lines) * 6, 0);
  p.set.assign(FastScanLookups(lines) * 6, 0);
  for (size_t b = 0; b < bit_count; ++b) {
    const FastScanPlace place = PlaceOfBit(b, lines);
    p.cleared[place.lookup * 6 + place.position] = p.weight0[b];
    p.set[place.lookup * 6 + place.position] = p.weight1[b];
    for (size_t row = 0; row < p.rows; ++row) {
      std::byte* block = p.blocks.data() + row / 64 * FastScanBlockBytes(lines);
      block[kFastScanFactorBytes + place.line * 64 + row % 64] |=
          static_cast<std::byte>(p.bits[row * bit_count + b] << place.bit);
    }
  }
  for (size_t block = 0; block < block_count; ++block) {
    for (size_t i = 0; i < kFastScanFactorBytes; ++i) {
      p.blocks[block * FastScanBlockBytes(lines) + i] = static_cast<std::byte>(rng() & 255);
    }
  }
  return p;
}

unsigned WantedSum(const Problem& p, size_t row) {
  unsigned sum = 0;
  for (size_t b = 0; b < 8 * p.lines; ++b) {
    sum += p.bits[row * 8 * p.lines + b] != 0 ? p.weight1[b] : p.weight0[b];
  }
  return sum;
}

class FastScanTest : public testing::TestWithParam<std::tuple<base::CpuLevel, size_t>> {
 protected:
  void SetUp() override {
    kernels_ = Supported(std::get<0>(GetParam()));
    if (kernels_ == nullptr) GTEST_SKIP() << "this machine cannot run it";
  }
  size_t lines() const { return std::get<1>(GetParam()); }
  FastScanArgs Prepare(const Problem& p, std::vector<uint8_t>* table,
                       std::vector<uint64_t>* eligible) const {
    table->assign(FastScanLookups(p.lines) * kFastScanEntryBytes, 0);
    kernels_->build_table(p.cleared.data(), p.set.data(), p.lines, table->data());
    eligible->assign(p.rows / 64, ~uint64_t{0});
    FastScanArgs args;
    args.table = table->data();
    args.lines = p.lines;
    args.blocks = p.blocks.data();
    args.block_count = p.rows / 64;
    args.eligible = eligible->data();
    return args;
  }
  const FastScanKernels* kernels_ = nullptr;
};

TEST_P(FastScanTest, SumsAreTheWeightsOfTheCodeBits) {
  std::mt19937_64 rng(test::TestSeed() + lines());
  const Problem p = MakeProblem(lines(), 3, rng);
  std::vector<uint8_t> table;
  std::vector<uint64_t> eligible;
  const FastScanArgs args = Prepare(p, &table, &eligible);
  std::vector<uint64_t> passed(3);
  std::vector<uint16_t> sums(p.rows);
  kernels_->scan(args, passed.data(), sums.data());
  for (size_t block = 0; block < 3; ++block) EXPECT_EQ(passed[block], ~uint64_t{0});
  for (size_t row = 0; row < p.rows; ++row) ASSERT_EQ(sums[row], WantedSum(p, row)) << row;
}

TEST_P(FastScanTest, RowsPassExactlyAsTheThresholdSays) {
  std::mt19937_64 rng(test::TestSeed() + 17 * lines());
  const Problem p = MakeProblem(lines(), 4, rng);
  std::vector<uint8_t> table;
  std::vector<uint64_t> eligible;
  FastScanArgs args = Prepare(p, &table, &eligible);
  for (uint64_t& word : eligible) word = rng() | rng();
  eligible[2] = 0;
  const auto middle = static_cast<int>(WantedSum(p, 0));
  for (int round = 0; round < 200; ++round) {
    const auto coefficient = [&] {
      const int wide = round % 4 == 3 ? 16383 : 400;
      return static_cast<int16_t>(static_cast<int>(rng() % (2 * static_cast<unsigned>(wide) + 1)) -
                                  wide);
    };
    args.threshold.coef_a = coefficient();
    args.threshold.coef_b = coefficient();
    args.threshold.base =
        static_cast<int16_t>(middle - (args.threshold.coef_a + args.threshold.coef_b) / 2 +
                             static_cast<int>(rng() % 41) - 20);
    std::vector<uint64_t> passed(4, 77);
    std::vector<uint16_t> sums(p.rows, 0xABCD);
    kernels_->scan(args, passed.data(), sums.data());
    for (size_t row = 0; row < p.rows; ++row) {
      const std::byte* block = args.blocks + row / 64 * FastScanBlockBytes(p.lines);
      // Round half up of factor * coefficient / 256, as documented.
      const auto term = [](std::byte factor, int coef) {
        return static_cast<int>(
            std::floor((std::to_integer<int>(factor) * static_cast<double>(coef)) / 256 + 0.5));
      };
      const int slope = term(block[row % 64], args.threshold.coef_a) +
                        term(block[64 + row % 64], args.threshold.coef_b);
      const int threshold = std::clamp(args.threshold.base + slope, -32768, 32767);
      const bool want = static_cast<int>(WantedSum(p, row)) > threshold &&
                        ((eligible[row / 64] >> (row % 64)) & 1) != 0;
      ASSERT_EQ((passed[row / 64] >> (row % 64)) & 1, want ? 1U : 0U) << "row " << row;
      const uint16_t want_sum =
          passed[row / 64] != 0 ? static_cast<uint16_t>(WantedSum(p, row)) : uint16_t{0xABCD};
      ASSERT_EQ(sums[row], want_sum);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryCpu, FastScanTest,
                         testing::Combine(testing::Values(base::CpuLevel::kScalar,
                                                          base::CpuLevel::kAvx2,
                                                          base::CpuLevel::kAvx512),
                                          testing::ValuesIn(kLineCounts)),
                         [](const auto& param) {
                           return std::string(base::ToString(std::get<0>(param.param))) + "Lines" +
                                  std::to_string(std::get<1>(param.param));
                         });

TEST(FastScanLayout, EveryBitHasItsOwnPlace) {
  for (const size_t lines : kLineCounts) {
    std::vector<int> line_bits(lines * 8, 0);
    std::vector<int> table_bits(FastScanLookups(lines) * 6, 0);
    for (size_t bit = 0; bit < 8 * lines; ++bit) {
      const FastScanPlace place = PlaceOfBit(bit, lines);
      ASSERT_LT(place.line, lines);
      ASSERT_LT(place.bit, 8U);
      ASSERT_LT(place.lookup, FastScanLookups(lines));
      ASSERT_LT(place.position, 6U);
      ++line_bits[place.line * 8 + place.bit];
      ++table_bits[place.lookup * 6 + place.position];
    }
    for (const int count : line_bits) EXPECT_EQ(count, 1);
    for (const int count : table_bits) EXPECT_LE(count, 1);
  }
}

}  // namespace
}  // namespace tessera::index
