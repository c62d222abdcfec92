#include "index/rabitq_codec.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "base/crc32c.h"
#include "gtest/gtest.h"
#include "tests/index/codec_fixture.h"
#include "tests/support/seed.h"

namespace tessera::index {
namespace {

using base::Metric;

std::string NameOf(Metric metric) { return std::string(base::ToString(metric)); }

class RaBitQPropertyTest : public testing::TestWithParam<std::tuple<Metric, size_t>> {
 protected:
  Metric metric() const { return std::get<0>(GetParam()); }
  size_t dim() const { return std::get<1>(GetParam()); }
};

// Errors of <x', q'> in units of sigma * |q - a c|, over random rows and heads.
struct ErrorSample {
  std::vector<double> scaled;  // (estimate - truth) / (2 f |q - a c|)
  double slope = 0;            // of estimates on truths
};

TEST_P(RaBitQPropertyTest, EstimatesAreUnbiasedAndFineOnesClose) {
  std::mt19937_64 rng(test::TestSeed() + dim());
  const auto codec = MakeCodec(metric(), dim(), dim(), 4, rng, metric() != Metric::kInnerProduct);
  const auto code = codec->NewQuery();
  double bias = 0;
  double spread = 0;
  double fine_spread = 0;
  double fine_bias = 0;
  size_t count = 0;
  const auto scale = static_cast<double>(dim());
  for (int round = 0; round < 20; ++round) {
    const std::vector<float> head = Gaussian(rng, dim(), 2);
    std::vector<float> rows = Gaussian(rng, 200 * dim());
    for (size_t i = 0; i < rows.size(); ++i) rows[i] += head[i % dim()];
    const EncodedList list = Encode(*codec, head, rows);
    std::vector<float> query = Gaussian(rng, dim(), 1.5F);
    for (size_t i = 0; i < dim(); ++i) query[i] += head[i];
    codec->PrepareQuery(query.data(), code.get());
    const ListScan scan = ScanOf(list, query.data());
    const std::vector<Survivor> all = Scan(*codec, *code, scan);
    ASSERT_EQ(all.size(), list.rows);
    for (const Survivor& s : all) {
      const double truth = Dissimilarity(metric(), query.data(), list.row(s.slot), dim());
      const double fine = codec->FineEstimate(
          *code, list.fine_plane.data() + s.slot * codec->FineRecordBytes(), scan.head_distance2,
          scan.head_dot);
      const double error = (s.estimate - truth) / scale;
      const double fine_error = (fine - truth) / scale;
      bias += error;
      spread += error * error;
      fine_bias += fine_error;
      fine_spread += fine_error * fine_error;
      ++count;
    }
  }
  const auto n = static_cast<double>(count);
  const double factor = metric() == Metric::kInnerProduct ? 1 : 2;
  // <r, q - c> of norms sqrt(dim) and 1.5 sqrt(dim) has an error of 0.75 |r| |q - c| / sqrt(dim).
  const double sd = factor * 0.75 * 1.5 / std::sqrt(scale);
  EXPECT_NEAR(bias / n, 0, 6 * sd / std::sqrt(n) + 0.02 * sd);
  EXPECT_LT(std::sqrt(spread / n), 1.25 * sd);
  EXPECT_GT(std::sqrt(spread / n), 0.8 * sd);
  const double fine_sd = factor * 0.105 * 1.5 / std::sqrt(scale);
  EXPECT_LT(std::sqrt(fine_spread / n), 1.5 * fine_sd);
  EXPECT_NEAR(fine_bias / n, 0, 6 * fine_sd / std::sqrt(n) + 0.1 * fine_sd);
}

INSTANTIATE_TEST_SUITE_P(Dims, RaBitQPropertyTest,
                         testing::Combine(testing::Values(Metric::kL2, Metric::kInnerProduct),
                                          testing::Values(64, 100, 128, 256)),
                         [](const auto& param) {
                           return NameOf(std::get<0>(param.param)) + "Dim" +
                                  std::to_string(std::get<1>(param.param));
                         });

// R3 of the method's checklist: whatever the shape, planes validate and estimates are finite, and
// with a wide bound no row that beats tau is lost.
class RaBitQShapeTest
    : public testing::TestWithParam<std::tuple<Metric, std::tuple<size_t, size_t>>> {};

TEST_P(RaBitQShapeTest, WideBoundsLoseNoRow) {
  const auto [metric, dims] = GetParam();
  const auto [dim, code_dim] = dims;
  std::mt19937_64 rng(test::TestSeed() + dim);
  const auto codec = MakeCodec(metric, dim, code_dim, dim % 2 == 0 ? 4 : 8, rng);
  const auto code = codec->NewQuery();
  for (const size_t row_count : {1, 63, 64, 65, 200}) {
    const std::vector<float> head = Gaussian(rng, dim);
    std::vector<float> rows = Gaussian(rng, row_count * dim);
    for (size_t i = 0; i < rows.size(); ++i) rows[i] += head[i % dim];
    const EncodedList list = Encode(*codec, head, rows);
    ASSERT_TRUE(codec->ValidateCodePlane(list.code_plane, row_count).ok());
    ASSERT_TRUE(codec->ValidateFinePlane(list.fine_plane, row_count).ok());
    const std::vector<float> query = Gaussian(rng, dim);
    codec->PrepareQuery(query.data(), code.get());
    ListScan scan = ScanOf(list, query.data());
    std::vector<double> truths;
    for (size_t i = 0; i < row_count; ++i) {
      truths.push_back(Dissimilarity(metric, query.data(), list.row(i), dim));
    }
    std::vector<double> sorted = truths;
    std::sort(sorted.begin(), sorted.end());
    scan.tau = static_cast<float>(sorted[row_count / 4]);
    scan.eps = 12;
    std::vector<bool> found(row_count, false);
    uint32_t last = 0;
    for (const Survivor& s : Scan(*codec, *code, scan)) {
      ASSERT_LT(s.slot, row_count);
      ASSERT_TRUE(std::isfinite(s.estimate));
      ASSERT_TRUE(s.slot > last || s.slot == 0);
      last = s.slot;
      found[s.slot] = true;
    }
    for (size_t i = 0; i < row_count; ++i) {
      if (truths[i] < scan.tau) {
        EXPECT_TRUE(found[i]) << i << " of " << row_count;
      }
    }
  }
}

using Dims = std::tuple<size_t, size_t>;
INSTANTIATE_TEST_SUITE_P(
    Shapes, RaBitQShapeTest,
    testing::Combine(testing::Values(Metric::kL2, Metric::kInnerProduct),
                     testing::Values(Dims{1, 1}, Dims{2, 2}, Dims{3, 2}, Dims{4, 4}, Dims{5, 5},
                                     Dims{6, 6}, Dims{7, 3}, Dims{8, 8}, Dims{100, 100},
                                     Dims{128, 66}, Dims{768, 192}, Dims{1536, 400})),
    [](const auto& param) {
      const auto dims = std::get<1>(param.param);
      return NameOf(std::get<0>(param.param)) + "Dim" + std::to_string(std::get<0>(dims)) +
             "Code" + std::to_string(std::get<1>(dims));
    });

}  // namespace
}  // namespace tessera::index
