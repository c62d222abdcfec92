#include "index/kernels/codec_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"

#include "tests/support/seed.h"

namespace tessera::index {
namespace {

class CodecKernelsTest : public testing::TestWithParam<std::tuple<base::CpuLevel, size_t>> {
 protected:
  void SetUp() override {
    for (const base::CpuLevel here : base::SupportedCpuLevels()) {
      if (here == std::get<0>(GetParam())) kernels_ = &CodecKernelsFor(here);
    }
    if (kernels_ == nullptr) GTEST_SKIP() << "this machine cannot run it";
    rng_.seed(test::TestSeed() + dim());
  }
  size_t dim() const { return std::get<1>(GetParam()); }
  // Rounding of dim additions of products.
  double unit() const { return static_cast<double>(dim() + 4) * 0x1p-24; }

  // One element in, so that no vector load is aligned by luck; every 7th is zero.
  std::vector<float> Draw() {
    std::normal_distribution<float> normal(0, 2);
    std::vector<float> out(dim() + 1);
    for (size_t i = 0; i < out.size(); ++i) out[i] = i % 7 == 3 ? 0 : normal(rng_);
    return out;
  }

  const CodecKernels* kernels_ = nullptr;
  std::mt19937_64 rng_;
};

TEST_P(CodecKernelsTest, GridIsAsDefined) {
  for (const float most : {0.5F, 7.5F, 127.5F}) {
    for (const float scale : {0.01F, 0.7F, 3.0F, 1e30F}) {
      const std::vector<float> values = Draw();
      const float* v = values.data() + 1;
      double dot = 0;
      double norm2 = 0;
      double magnitude = 0;
      std::vector<uint8_t> want(dim());
      for (size_t i = 0; i < dim(); ++i) {
        const double y = std::clamp(std::floor(static_cast<double>(v[i] * scale)) + 0.5,
                                    -static_cast<double>(most), static_cast<double>(most));
        dot += y * v[i];
        norm2 += y * y;
        magnitude += std::abs(y * v[i]);
        want[i] = static_cast<uint8_t>(std::lround(y + most));
      }
      const GridSums sums = kernels_->grid_sums(v, dim(), scale, most);
      EXPECT_NEAR(sums.dot, dot, unit() * magnitude);
      EXPECT_NEAR(sums.norm2, norm2, unit() * norm2);
      std::vector<uint8_t> codes(dim() + 1, 0xEE);
      kernels_->grid_codes(v, dim(), scale, most, codes.data());
      EXPECT_EQ(codes.back(), 0xEE) << "written past the end";
      codes.pop_back();
      EXPECT_EQ(codes, want);
    }
  }
}

TEST_P(CodecKernelsTest, ExtentMatchesTheReference) {
  for (int round = 0; round < 20; ++round) {
    const std::vector<float> values = Draw();
    float largest = 0;
    double norm2 = 0;
    for (size_t i = 1; i <= dim(); ++i) {
      largest = std::max(largest, std::abs(values[i]));
      norm2 += static_cast<double>(values[i]) * values[i];
    }
    const Extent extent = kernels_->extent(values.data() + 1, dim());
    EXPECT_EQ(extent.largest, largest);
    EXPECT_NEAR(extent.norm2, norm2, unit() * norm2);
  }
}

TEST_P(CodecKernelsTest, SignSumsMatchTheReference) {
  const std::vector<float> values = Draw();
  const std::vector<float> weights = Draw();
  double magnitude = 0;
  double norm2 = 0;
  double other = 0;
  double other_magnitude = 0;
  for (size_t i = 1; i <= dim(); ++i) {
    const double v = values[i];
    magnitude += std::abs(v);
    norm2 += v * v;
    other += v > 0 ? weights[i] : -weights[i];
    other_magnitude += std::abs(weights[i]);
  }
  const SignSums sums = kernels_->sign_sums(values.data() + 1, weights.data() + 1, dim());
  EXPECT_NEAR(sums.magnitude, magnitude, unit() * magnitude);
  EXPECT_NEAR(sums.norm2, norm2, unit() * norm2);
  EXPECT_NEAR(sums.other, other, unit() * other_magnitude);
}

TEST_P(CodecKernelsTest, BytesAreRoundedToNearest) {
  std::vector<float> values = Draw();
  // Ties and the ends.
  const float special[] = {0.5F, 1.5F, -0.5F, -2.5F, 63.5F, -63.5F};
  for (size_t i = 1; i < values.size(); i += 3) values[i] = special[rng_() % 6];
  std::vector<int8_t> out(dim() + 1, 77);
  const int32_t sum = kernels_->round_bytes(values.data() + 1, dim(), 2.0F, out.data());
  EXPECT_EQ(out.back(), 77);
  int32_t want_sum = 0;
  for (size_t i = 0; i < dim(); ++i) {
    const int want = static_cast<int>(std::nearbyint(2.0 * values[i + 1]));
    EXPECT_EQ(out[i], want) << values[i + 1];
    want_sum += want;
  }
  EXPECT_EQ(sum, want_sum);
}

TEST_P(CodecKernelsTest, ByteProductsAreExact) {
  for (const size_t rows : {1, 3, 4, 5, 8, 17}) {
    std::vector<uint8_t> matrix(rows * dim());
    std::vector<int8_t> vector(dim());
    for (const bool extreme : {false, true}) {
      for (uint8_t& v : matrix) v = extreme ? 255 : static_cast<uint8_t>(rng_());
      for (int8_t& v : vector) v = extreme ? -128 : static_cast<int8_t>(rng_());
      std::vector<int32_t> out(rows + 1, 77);
      kernels_->multiply_bytes(matrix.data(), rows, vector.data(), dim(), out.data());
      EXPECT_EQ(out.back(), 77);
      for (size_t row = 0; row < rows; ++row) {
        int64_t want = 0;
        for (size_t i = 0; i < dim(); ++i) want += int64_t{matrix[row * dim() + i]} * vector[i];
        ASSERT_EQ(out[row], want) << "row " << row << " of " << rows;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Dims, CodecKernelsTest,
                         testing::Combine(testing::Values(base::CpuLevel::kScalar,
                                                          base::CpuLevel::kAvx2,
                                                          base::CpuLevel::kAvx512),
                                          testing::Values(0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33,
                                                          63, 64, 65, 100, 128, 513, 1536, 16384)),
                         [](const auto& param) {
                           return std::string(base::ToString(std::get<0>(param.param))) + "Dim" +
                                  std::to_string(std::get<1>(param.param));
                         });

}  // namespace
}  // namespace tessera::index
