#include "index/pca.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"

#include "tests/support/seed.h"

namespace tessera::index {
namespace {

// Gaussian rows in a random basis whose i-th direction has standard deviation decay^i.
std::vector<float> DecayingRows(uint64_t seed, size_t n, size_t dim, double decay) {
  const std::vector<float> basis = *RandomRotation(dim, seed);
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> gauss;
  std::vector<float> rows(n * dim);
  for (size_t i = 0; i < n; ++i) {
    std::vector<double> row(dim, 0.0);
    double deviation = 1.0;
    for (size_t direction = 0; direction < dim; ++direction, deviation *= decay) {
      const double length = deviation * gauss(rng);
      for (size_t j = 0; j < dim; ++j) {
        row[j] += length * static_cast<double>(basis[direction * dim + j]);
      }
    }
    std::copy(row.begin(), row.end(), rows.begin() + static_cast<ptrdiff_t>(i * dim));
  }
  return rows;
}

double SquaredNorm(const float* values, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) {
    sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  }
  return sum;
}

void ExpectOrthonormal(const std::vector<float>& matrix, size_t rows, size_t dim) {
  ASSERT_EQ(matrix.size(), rows * dim);
  for (size_t a = 0; a < rows; ++a) {
    for (size_t b = 0; b <= a; ++b) {
      double dot = 0;
      for (size_t j = 0; j < dim; ++j) {
        dot += static_cast<double>(matrix[a * dim + j]) * static_cast<double>(matrix[b * dim + j]);
      }
      ASSERT_NEAR(dot, a == b ? 1.0 : 0.0, 2e-5) << "rows " << a << " and " << b;
    }
  }
}

class PcaShapeTest : public testing::TestWithParam<std::tuple<size_t, size_t>> {};

TEST_P(PcaShapeTest, KeepsTheWantedEnergyInFewOrthonormalDirections) {
  const auto [n, dim] = GetParam();
  const std::vector<float> rows = DecayingRows(test::TestSeed(), n, dim, 0.9);
  const auto pca = TrainPca(rows, dim, {.energy = 0.85, .thread_count = 2});
  ASSERT_TRUE(pca.ok()) << pca.status();
  ExpectOrthonormal(pca->matrix, pca->kept, dim);
  EXPECT_TRUE(pca->kept % 4 == 0 || pca->kept == dim) << pca->kept;
  // Geometric energies: 0.81^m <= 0.15 from m = 10 on.
  EXPECT_GE(pca->kept, std::min<size_t>(dim, 8));
  EXPECT_LE(pca->kept, 16U);

  std::vector<float> mapped(n * pca->kept);
  ApplyTransform(*pca, rows.data(), n, mapped.data());
  const double share =
      SquaredNorm(mapped.data(), mapped.size()) / SquaredNorm(rows.data(), rows.size());
  EXPECT_NEAR(share, pca->energy, 1e-3);
  EXPECT_GE(share, 0.849);
  // The rotation spreads the energy: without it the first direction has a fifth of all.
  std::vector<double> per_dim(pca->kept, 0.0);
  for (size_t i = 0; i < mapped.size(); ++i) {
    per_dim[i % pca->kept] += static_cast<double>(mapped[i]) * static_cast<double>(mapped[i]);
  }
  EXPECT_LT(*std::max_element(per_dim.begin(), per_dim.end()),
            0.95 * static_cast<double>(pca->spectrum[0]) + 1e-9);
}

INSTANTIATE_TEST_SUITE_P(Shapes, PcaShapeTest,
                         testing::Values(std::make_tuple(size_t{3000}, size_t{32}),
                                         std::make_tuple(size_t{3000}, size_t{100}),
                                         std::make_tuple(size_t{90}, size_t{130}),
                                         std::make_tuple(size_t{1500}, size_t{13})));

TEST(Pca, AllEnergyIsARotation) {
  const auto pca = TrainPca(DecayingRows(test::TestSeed(), 200, 37, 0.95), 37, {.energy = 1.0});
  ASSERT_TRUE(pca.ok()) << pca.status();
  EXPECT_EQ(pca->kept, 37U);
  ExpectOrthonormal(pca->matrix, 37, 37);
}

TEST(Pca, NeedsMoreDirectionsForMoreEnergy) {
  const std::vector<float> rows = DecayingRows(test::TestSeed(), 2000, 48, 0.95);
  size_t before = 0;
  for (const double energy : {0.3, 0.6, 0.9, 0.98}) {
    const auto pca = TrainPca(rows, 48, {.energy = energy});
    ASSERT_TRUE(pca.ok()) << pca.status();
    EXPECT_GT(pca->kept, before);
    before = pca->kept;
  }
}

TEST(Pca, ZeroResidualsAndNoResidualsStillGiveDirections) {
  for (const size_t n : {size_t{0}, size_t{1}, size_t{500}}) {
    const std::vector<float> rows(n * 20, 0.0F);
    const auto pca = TrainPca(rows, 20, {.energy = 0.5});
    ASSERT_TRUE(pca.ok()) << pca.status();
    EXPECT_EQ(pca->kept, 12U);
    ExpectOrthonormal(pca->matrix, pca->kept, 20);
  }
}

TEST(Pca, VeryHighDimensionIsLimited) {
  constexpr size_t kDim = 2500;
  std::mt19937_64 rng(test::TestSeed());
  std::normal_distribution<float> gauss;
  std::vector<float> rows(60 * kDim);
  for (float& value : rows) value = gauss(rng);
  const auto pca = TrainPca(rows, kDim, {.energy = 0.85});
  ASSERT_TRUE(pca.ok()) << pca.status();
  EXPECT_LE(pca->kept, 60U);
  ExpectOrthonormal(pca->matrix, pca->kept, kDim);
}

TEST(Pca, DoesNotDependOnThreads) {
  const std::vector<float> rows = DecayingRows(test::TestSeed(), 3000, 40, 0.9);
  const auto one = TrainPca(rows, 40, {.seed = 3, .thread_count = 1});
  const auto three = TrainPca(rows, 40, {.seed = 3, .thread_count = 3});
  ASSERT_TRUE(one.ok() && three.ok());
  EXPECT_EQ(one->matrix, three->matrix);
}

TEST(Pca, RefusesBadOptions) {
  const std::vector<float> rows(40, 1.0F);
  EXPECT_EQ(TrainPca(rows, 0, {}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(TrainPca(rows, 4, {.energy = 1.5}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(TrainPca(rows, 4, {.energy = std::nan("")}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Pca, NotANumberIsAnError) {
  std::vector<float> rows(40, 1.0F);
  rows[7] = std::nanf("");
  const auto pca = TrainPca(rows, 4, {});
  EXPECT_EQ(pca.status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace tessera::index
