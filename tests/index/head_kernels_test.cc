#include "index/kernels/head_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/index/codecs/codec_fixture.h"
#include "tests/support/seed.h"

namespace tessera::index {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class HeadKernelsLevels : public testing::TestWithParam<base::CpuLevel> {
 protected:
  const HeadKernels& kernels() const { return HeadKernelsFor(GetParam()); }
  std::mt19937_64 rng_{TestSeed()};
};

INSTANTIATE_TEST_SUITE_P(All, HeadKernelsLevels, testing::ValuesIn(base::SupportedCpuLevels()),
                         [](const auto& test) { return std::string(base::ToString(test.param)); });

TEST_P(HeadKernelsLevels, TableIsThatOfItsLevel) {
  EXPECT_EQ(kernels().level, GetParam());
}

// Codes and queries from the ends of their ranges, where 16-bit sums would overflow.
TEST_P(HeadKernelsLevels, ScoresEqualTheDoubleReference) {
  for (const size_t dim : {1, 3, 4, 5, 31, 64, 100, 101, 513, 1536}) {
    const size_t quads = (dim + 3) / 4;
    for (const size_t blocks : {1, 2, 3, 4, 5, 9}) {
      const size_t heads = blocks * kHeadBlock;
      std::vector<uint8_t> codes(heads * quads * 4);
      std::vector<int8_t> query(quads * 4);
      const uint64_t style = rng_() % 3;
      for (uint8_t& code : codes) code = static_cast<uint8_t>(style == 0 ? 255 : rng_());
      for (int8_t& code : query) {
        code = static_cast<int8_t>(style == 1 ? -127 : static_cast<int>(rng_() % 255) - 127);
      }
      const std::vector<float> scales = Gaussian(rng_, heads);
      const std::vector<float> biases = Gaussian(rng_, heads, 1000);
      int32_t offset = 0;
      for (const int8_t code : query) offset += 128 * code;
      std::vector<float> keys(heads + 1, 77.0F);
      kernels().score_blocks(
          {.codes = codes.data(),
           .scales = scales.data(),
           .biases = biases.data(),
           .blocks = blocks,
           .quads = quads},
          {.codes = query.data(), .scale = 0.25F, .bias_scale = 3, .offset = offset}, keys.data());
      for (size_t h = 0; h < heads; ++h) {
        double sum = -offset;
        for (size_t j = 0; j < quads * 4; ++j) {
          const size_t quad = h / kHeadBlock * quads + j / 4;
          sum += 1.0 * codes[(quad * kHeadBlock + h % kHeadBlock) * 4 + j % 4] * query[j];
        }
        const double bias = 3 * double{biases[h]};
        const double product = 0.25 * double{scales[h]} * sum;
        ASSERT_NEAR(keys[h], bias - product, 1e-6 * (std::abs(bias) + std::abs(product)))
            << "dim " << dim << ", head " << h << " of " << heads;
      }
      EXPECT_EQ(keys[heads], 77.0F);
    }
  }
}

TEST_P(HeadKernelsLevels, SumsAreExactAtTheMostDimensions) {
  const size_t quads = 16384;
  const std::vector<uint8_t> codes(quads * 4 * kHeadBlock, 255);
  const std::vector<int8_t> query(quads * 4, -127);
  const std::vector<float> ones(kHeadBlock, 1.0F);
  const std::vector<float> zeros(kHeadBlock, 0.0F);
  // A sum close to -2^31, and an offset of its size.
  const int64_t sum = int64_t{-127} * 255 * 65536;
  const int32_t offset = static_cast<int32_t>(sum + 5);
  std::vector<float> keys(kHeadBlock);
  kernels().score_blocks({.codes = codes.data(),
                          .scales = ones.data(),
                          .biases = zeros.data(),
                          .blocks = 1,
                          .quads = quads},
                         {.codes = query.data(), .scale = 1, .offset = offset}, keys.data());
  EXPECT_THAT(keys, testing::Each(5.0F));
}

TEST_P(HeadKernelsLevels, RangeIsFromTheSmallestToTheLargest) {
  for (const size_t n : {1, 2, 7, 8, 9, 15, 16, 17, 33, 100}) {
    for (int round = 0; round < 20; ++round) {
      std::vector<float> keys(n);
      for (float& key : keys) key = Gaussian(rng_, 1)[0] + (round < 10 ? 100.0F : -100.0F);
      float low = 0;
      float high = 0;
      kernels().range(keys.data(), n, &low, &high);
      EXPECT_EQ(low, *std::min_element(keys.begin(), keys.end()));
      EXPECT_EQ(high, *std::max_element(keys.begin(), keys.end()));
    }
  }
}

TEST_P(HeadKernelsLevels, CountsAndSelectsWhatIsWithinTheLimit) {
  for (const size_t n : {0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 100, 1000}) {
    std::vector<float> keys = Gaussian(rng_, n);
    for (size_t i = 0; i < n; i += 5) keys[i] = 0.25F;
    if (n > 8) {
      keys[3] = kNan;
      keys[4] = -kInfinity;
      keys[6] = kInfinity;
    }
    for (const float limit : {-kInfinity, -0.5F, 0.25F, 10.0F, kInfinity}) {
      std::vector<uint32_t> wanted;
      for (size_t i = 0; i < n; ++i) {
        if (keys[i] <= limit) wanted.push_back(static_cast<uint32_t>(i));
      }
      std::vector<uint32_t> found(n + 16);
      found.resize(kernels().select_up_to(keys.data(), n, limit, found.data()));
      EXPECT_EQ(found, wanted) << n << " keys up to " << limit;
      EXPECT_EQ(kernels().count_up_to(keys.data(), n, limit), wanted.size());
    }
  }
}

TEST_P(HeadKernelsLevels, RanksAreThoseOfAStableSort) {
  for (const size_t n : {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 100, 512, 513, 1200}) {
    std::vector<float> keys = Gaussian(rng_, n);
    for (size_t i = 0; i < n; i += 3) keys[i] = static_cast<float>(rng_() % 4);
    if (n > 8) {
      keys[3] = -kInfinity;
      keys[5] = keys[6] = kInfinity;
    }
    std::vector<uint32_t> order(n);
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return keys[a] < keys[b]; });
    std::vector<uint32_t> wanted(n);
    for (size_t i = 0; i < n; ++i) wanted[order[i]] = static_cast<uint32_t>(i);
    std::vector<uint32_t> ranks(n);
    kernels().rank(keys.data(), n, ranks.data());
    EXPECT_EQ(ranks, wanted) << n << " keys";
  }
}

TEST_P(HeadKernelsLevels, ArgMaxDifferenceTakesTheFirstOfTheLargest) {
  for (const size_t n : {1, 2, 7, 8, 9, 16, 17, 40, 1001}) {
    for (int round = 0; round < 20; ++round) {
      std::vector<float> a = Gaussian(rng_, n);
      std::vector<float> b = Gaussian(rng_, n);
      // Equal largest ones in several lanes, NaN before them.
      for (int i = 0; i < 3; ++i) {
        const size_t at = rng_() % n;
        a[at] = 100;
        b[at] = -100;
      }
      a[rng_() % n] = kNan;
      uint32_t winner = 0;
      float top = -kInfinity;
      for (size_t i = 0; i < n; ++i) {
        if (a[i] - b[i] > top) {
          top = a[i] - b[i];
          winner = static_cast<uint32_t>(i);
        }
      }
      float best = 0;
      EXPECT_EQ(kernels().arg_max_difference(a.data(), b.data(), n, &best), winner);
      EXPECT_EQ(best, top);
    }
  }
}

TEST_P(HeadKernelsLevels, ArgMaxDifferenceOfOnlyNanIsTheFirst) {
  const std::vector<float> a(33, kNan);
  const std::vector<float> b(33, 0.0F);
  float best = 0;
  EXPECT_EQ(kernels().arg_max_difference(a.data(), b.data(), a.size(), &best), 0U);
  EXPECT_EQ(best, -kInfinity);
}

}  // namespace
}  // namespace tessera::index
