// Statistics of the estimates and their bound, and what a scan lets through.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"

#include "index/codecs/rabitq_codec.h"
#include "tests/index/codecs/codec_fixture.h"
#include "tests/support/seed.h"

namespace tessera::index {
namespace {

using base::Metric;

constexpr std::array kMetrics = {Metric::kL2, Metric::kInnerProduct, Metric::kCosine};

std::string NameOf(const testing::TestParamInfo<std::tuple<Metric, size_t>>& param) {
  return std::string(base::ToString(std::get<0>(param.param))) + "Dim" +
         std::to_string(std::get<1>(param.param));
}

class RaBitQStatisticsTest : public testing::TestWithParam<std::tuple<Metric, size_t>> {
 protected:
  void SetUp() override { rng_.seed(test::TestSeed() + dim()); }
  Metric metric() const { return std::get<0>(GetParam()); }
  size_t dim() const { return std::get<1>(GetParam()); }
  double Truth(const float* query, const EncodedList& list, uint32_t slot) const {
    return Dissimilarity(metric(), query, list.row(slot), dim());
  }
  // What an error of <r, q - a c> is multiplied with in a dissimilarity.
  double unit() const { return metric() == Metric::kInnerProduct ? 1 : 2; }

  std::mt19937_64 rng_;
};

// q - a c, whose length the errors scale with.
std::vector<float> GapOf(Metric metric, const float* query, const float* head, size_t dim) {
  const double alpha = metric == Metric::kL2 ? 1 : Dot(query, head, dim) / Dot(head, head, dim);
  std::vector<float> gap(dim);
  for (size_t i = 0; i < dim; ++i) gap[i] = static_cast<float>(query[i] - alpha * head[i]);
  return gap;
}

// Errors of <r, q - a c> with both sides scaled to unit length, times sqrt(dim): of random
// directions its standard deviation is that of one bit's rounding, 0.75; 4 bits have 0.105.
TEST_P(RaBitQStatisticsTest, EstimatesAreUnbiasedAndAsExactAsTheirBits) {
  const auto codec = MakeCodec(metric(), dim(), dim(), 4, rng_, metric() == Metric::kL2);
  const auto code = codec->NewQuery();
  std::array<double, 2> sums{};
  std::array<double, 2> squares{};
  double cross = 0;
  double truth_squares = 0;
  double count = 0;
  for (int round = 0; round < 25; ++round) {
    Neighbourhood hood = MakeNeighbourhood(metric(), dim(), 200, 4, rng_);
    const EncodedList list = Encode(*codec, hood.head, hood.rows);
    for (size_t q = 0; q < 4; ++q) {
      const float* query = hood.queries.data() + q * dim();
      codec->PrepareQuery(query, code.get());
      const ListScan scan = ScanOf(list, query);
      const std::vector<float> gap = GapOf(metric(), query, hood.head.data(), dim());
      const std::vector<Survivor> all = Scan(*codec, *code, scan);
      ASSERT_EQ(all.size(), list.rows) << "an infinite tau lets every row through";
      for (const Survivor& s : all) {
        const double truth = Truth(query, list, s.slot);
        const float fine =
            codec->FineEstimate(*code, list.fine_plane.data() + s.slot * codec->FineRecordBytes(),
                                scan.head_distance2, scan.head_dot);
        std::vector<float> residual(dim());
        for (size_t i = 0; i < dim(); ++i) residual[i] = list.row(s.slot)[i] - hood.head[i];
        const double length2 =
            Dot(residual.data(), residual.data(), dim()) * Dot(gap.data(), gap.data(), dim());
        const double scale = std::sqrt(static_cast<double>(dim()) / length2) / unit();
        const std::array errors = {(s.estimate - truth) * scale, (fine - truth) * scale};
        for (size_t plane : {0, 1}) {
          sums[plane] += errors[plane];
          squares[plane] += errors[plane] * errors[plane];
        }
        // What the codes carry of the truth.
        const double carried = -unit() * Dot(residual.data(), gap.data(), dim()) * scale;
        cross += carried * errors[0];
        truth_squares += carried * carried;
        ++count;
      }
    }
  }
  const double sd = std::sqrt(squares[0] / count);
  EXPECT_NEAR(sd, 0.75, 0.06);
  EXPECT_NEAR(sums[0] / count, 0, 0.04 * sd) << "bias of the first plane";
  EXPECT_NEAR(cross / truth_squares, 0, 0.03) << "slope less one";
  const double fine_sd = std::sqrt(squares[1] / count);
  EXPECT_LT(fine_sd, 0.14);
  EXPECT_NEAR(sums[1] / count, 0, 0.1 * fine_sd) << "bias of the second plane";
}

// One-sided: the share of rows whose bound lies above their true distance is that of a normal
// distribution, as the factor eps promises.
TEST_P(RaBitQStatisticsTest, BoundFailsAsOftenAsPromised) {
  const auto codec = MakeCodec(metric(), dim(), dim(), 0, rng_);
  const auto code = codec->NewQuery();
  constexpr std::array kEps = {1.0F, 1.4F, 1.9F, 3.0F};
  std::array<double, kEps.size()> failed{};
  double count = 0;
  for (int round = 0; round < 30; ++round) {
    Neighbourhood hood = MakeNeighbourhood(metric(), dim(), 256, 4, rng_);
    const EncodedList list = Encode(*codec, hood.head, hood.rows);
    for (size_t q = 0; q < 4; ++q) {
      const float* query = hood.queries.data() + q * dim();
      codec->PrepareQuery(query, code.get());
      ListScan scan = ScanOf(list, query);
      for (uint32_t slot = 0; slot < list.rows; ++slot, ++count) {
        std::array<uint64_t, 4> mask{};
        mask[slot / 64] = uint64_t{1} << (slot % 64);
        scan.block_mask = mask.data();
        scan.tau = static_cast<float>(Truth(query, list, slot));
        for (size_t e = 0; e < kEps.size(); ++e) {
          scan.eps = kEps[e];
          Survivor one;
          if (codec->ScanList(*code, scan, &one) == 0) ++failed[e];
        }
      }
    }
  }
  EXPECT_NEAR(failed[0] / count, 0.159, 0.03);
  EXPECT_NEAR(failed[1] / count, 0.081, 0.02);
  EXPECT_GT(failed[2] / count, 0.015);
  EXPECT_LT(failed[2] / count, 0.04);
  EXPECT_GT(failed[3] / count, 0.0002);
  EXPECT_LT(failed[3] / count, 0.004);
}

INSTANTIATE_TEST_SUITE_P(Dims, RaBitQStatisticsTest,
                         testing::Combine(testing::ValuesIn(kMetrics),
                                          testing::Values(64, 100, 128, 513)),
                         NameOf);

class RaBitQScanTest : public testing::TestWithParam<Metric> {
 protected:
  void SetUp() override { rng_.seed(test::TestSeed()); }
  std::mt19937_64 rng_;
};

TEST_P(RaBitQScanTest, MaskedRowsStayOutAndOthersStayAsTheyWere) {
  constexpr size_t kDim = 50;
  const auto codec = MakeCodec(GetParam(), kDim, kDim, 4, rng_);
  const auto code = codec->NewQuery();
  for (const size_t row_count : {1, 64, 100, 700}) {
    Neighbourhood hood = MakeNeighbourhood(GetParam(), kDim, row_count, 1, rng_);
    const EncodedList list = Encode(*codec, hood.head, hood.rows);
    codec->PrepareQuery(hood.queries.data(), code.get());
    ListScan scan = ScanOf(list, hood.queries.data());
    std::vector<float> truths;
    for (size_t i = 0; i < row_count; ++i) {
      truths.push_back(
          static_cast<float>(Dissimilarity(GetParam(), hood.queries.data(), list.row(i), kDim)));
    }
    std::nth_element(truths.begin(), truths.begin() + static_cast<ptrdiff_t>(row_count / 3),
                     truths.end());
    for (const float tau : {truths[row_count / 3], std::numeric_limits<float>::infinity()}) {
      scan.tau = tau;
      scan.block_mask = nullptr;
      const std::vector<Survivor> all = Scan(*codec, *code, scan);
      // Bits beyond the last row must not matter.
      std::vector<uint64_t> mask(BlockCount(row_count));
      for (uint64_t& word : mask) word = rng_() & rng_();
      scan.block_mask = mask.data();
      std::vector<Survivor> want;
      for (const Survivor& s : all) {
        if ((mask[s.slot / 64] >> (s.slot % 64) & 1) != 0) want.push_back(s);
      }
      const std::vector<Survivor> got = Scan(*codec, *code, scan);
      ASSERT_EQ(got.size(), want.size());
      for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(got[i].slot, want[i].slot);
        EXPECT_EQ(got[i].estimate, want[i].estimate);
      }
    }
  }
}

TEST_P(RaBitQScanTest, FewerRowsForASmallerTauOrFactor) {
  constexpr size_t kDim = 100;
  const auto codec = MakeCodec(GetParam(), kDim, kDim, 4, rng_);
  const auto code = codec->NewQuery();
  Neighbourhood hood = MakeNeighbourhood(GetParam(), kDim, 500, 1, rng_);
  const EncodedList list = Encode(*codec, hood.head, hood.rows);
  codec->PrepareQuery(hood.queries.data(), code.get());
  ListScan scan = ScanOf(list, hood.queries.data());
  std::vector<double> truths;
  for (size_t i = 0; i < list.rows; ++i) {
    truths.push_back(Dissimilarity(GetParam(), hood.queries.data(), list.row(i), kDim));
  }
  std::sort(truths.begin(), truths.end());
  size_t before = list.rows + 1;
  for (const size_t rank : {499, 300, 100, 10}) {
    scan.tau = static_cast<float>(truths[rank]);
    const size_t now = Scan(*codec, *code, scan).size();
    EXPECT_LT(now, before);
    EXPECT_GE(now, rank / 2);
    before = now;
  }
  for (const float eps : {1.4F, 0.7F, 0.0F, -1.0F}) {
    scan.eps = eps;
    const size_t now = Scan(*codec, *code, scan).size();
    EXPECT_LE(now, before);
    before = now;
  }
  // So far below every row that the list's own bounds rule it out.
  scan.tau = GetParam() == Metric::kInnerProduct ? -1e9F : -1e3F;
  EXPECT_EQ(Scan(*codec, *code, scan).size(), 0U);
}

// Row-independent scaling of everything scales the estimates, and nothing else.
TEST_P(RaBitQScanTest, ScaleDoesNotMatter) {
  if (GetParam() == Metric::kCosine) GTEST_SKIP() << "rows are of unit length";
  constexpr size_t kDim = 65;
  const auto codec = MakeCodec(GetParam(), kDim, kDim, 4, rng_);
  const auto code = codec->NewQuery();
  const Neighbourhood hood = MakeNeighbourhood(GetParam(), kDim, 300, 1, rng_);
  std::vector<Survivor> first;
  for (const float scale : {1.0F, 0x1p-30F, 0x1p-12F, 0x1p12F, 0x1p30F}) {
    Neighbourhood scaled = hood;
    for (auto* values : {&scaled.head, &scaled.rows, &scaled.queries}) {
      for (float& v : *values) v *= scale;
    }
    const EncodedList list = Encode(*codec, scaled.head, scaled.rows);
    codec->PrepareQuery(scaled.queries.data(), code.get());
    ListScan scan = ScanOf(list, scaled.queries.data());
    scan.tau =
        static_cast<float>(Dissimilarity(GetParam(), scaled.queries.data(), list.row(7), kDim));
    const std::vector<Survivor> found = Scan(*codec, *code, scan);
    if (first.empty()) first = found;
    ASSERT_FALSE(first.empty());
    ASSERT_EQ(found.size(), first.size()) << scale;
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].slot, first[i].slot);
      EXPECT_NEAR(found[i].estimate / (scale * scale), first[i].estimate,
                  1e-4 * std::abs(first[i].estimate));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Metrics, RaBitQScanTest, testing::ValuesIn(kMetrics),
                         [](const auto& param) {
                           return std::string(base::ToString(param.param));
                         });

}  // namespace
}  // namespace tessera::index
