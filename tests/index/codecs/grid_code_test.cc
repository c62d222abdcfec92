#include "index/codecs/grid_code.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "gtest/gtest.h"

#include "tests/index/codecs/codec_fixture.h"
#include "tests/support/seed.h"

namespace tessera::index {
namespace {

struct Coded {
  double dot;     // as returned
  double cosine;  // of y and v
  double y_dot;   // <y, v>
};

Coded Quantise(const std::vector<float>& v, uint32_t bits) {
  const CodecKernels& kernels = ActiveCodecKernels();
  std::vector<uint8_t> codes(v.size());
  const Extent extent = kernels.extent(v.data(), v.size());
  Coded coded{};
  coded.dot = QuantiseOnGrid(kernels, v.data(), v.size(), extent, bits, codes.data());
  double norm2 = 0;
  double v_norm2 = 0;
  for (size_t i = 0; i < v.size(); ++i) {
    EXPECT_LT(codes[i], 1U << bits);
    const double y = codes[i] - ((1 << bits) - 1) / 2.0;
    coded.y_dot += y * v[i];
    norm2 += y * y;
    v_norm2 += static_cast<double>(v[i]) * v[i];
  }
  coded.cosine = coded.y_dot / std::sqrt(norm2 * v_norm2);
  return coded;
}

// The mean cosine of vector and code, over random directions.
TEST(GridCode, DirectionIsKeptAsWellAsTheBitsAllow) {
  std::mt19937_64 rng(test::TestSeed());
  const std::vector<std::pair<uint32_t, double>> want = {{1, 0.795}, {2, 0.935},  {3, 0.980},
                                                         {4, 0.994}, {5, 0.9980}, {8, 0.9999}};
  for (const auto& [bits, least] : want) {
    double sum = 0;
    for (int i = 0; i < 50; ++i) sum += Quantise(Gaussian(rng, 256), bits).cosine;
    EXPECT_GT(sum / 50, least) << bits << " bits";
  }
}

TEST(GridCode, ReturnsTheDotProductOfItsCodes) {
  std::mt19937_64 rng(test::TestSeed());
  for (const size_t dim : {1, 2, 7, 100, 513}) {
    for (const uint32_t bits : {1, 4, 8}) {
      for (const float scale : {1e-40F, 1e-20F, 1.0F, 1e20F, 1e37F}) {
        const std::vector<float> v = Gaussian(rng, dim, scale);
        const Coded coded = Quantise(v, bits);
        EXPECT_NEAR(coded.dot, coded.y_dot, 1e-4 * std::abs(coded.y_dot));
        EXPECT_GE(coded.dot, 0);
      }
    }
  }
}

// One component that dwarfs the others, and equal components, both have an exact code.
TEST(GridCode, SpikesAndConstants) {
  std::vector<float> spike(50, 0.0F);
  spike[17] = -3;
  EXPECT_GT(Quantise(spike, 4).cosine, 0.88);
  EXPECT_GT(Quantise(spike, 8).cosine, 0.999);
  EXPECT_NEAR(Quantise(std::vector<float>(50, -2.0F), 4).cosine, 1, 1e-9);
}

TEST(GridCode, ZeroVector) {
  const Coded coded = Quantise(std::vector<float>(20, 0.0F), 4);
  EXPECT_EQ(coded.dot, 0);
}

}  // namespace
}  // namespace tessera::index
