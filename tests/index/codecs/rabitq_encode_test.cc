// Planes of awkward lists: any shape, degenerate rows, extreme lengths.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"

#include "index/codecs/rabitq_codec.h"
#include "tests/index/codecs/codec_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::index {
namespace {

using base::Metric;
using Dims = std::tuple<size_t, size_t>;  // dim, code_dim

class RaBitQEncodeTest : public testing::TestWithParam<std::tuple<Metric, Dims>> {
 protected:
  void SetUp() override {
    rng_.seed(test::TestSeed() + dim());
    codec_ = MakeCodec(metric(), dim(), std::get<1>(std::get<1>(GetParam())),
                       dim() % 2 == 0 ? 4 : 8, rng_);
    code_ = codec_->NewQuery();
  }
  Metric metric() const { return std::get<0>(GetParam()); }
  size_t dim() const { return std::get<0>(std::get<1>(GetParam())); }
  double Truth(const float* query, const EncodedList& list, size_t slot) const {
    return Dissimilarity(metric(), query, list.row(slot), dim());
  }
  EncodedList EncodeValid(const std::vector<float>& head, const std::vector<float>& rows) {
    EncodedList list = Encode(*codec_, head, rows);
    EXPECT_OK(codec_->ValidateCodePlane(list.code_plane, list.rows));
    EXPECT_OK(codec_->ValidateFinePlane(list.fine_plane, list.rows));
    return list;
  }
  // With a wide bound no row that beats tau is lost, and every estimate is finite.
  void ExpectNoRowLost(const EncodedList& list, const float* query) {
    codec_->PrepareQuery(query, code_.get());
    ListScan scan = ScanOf(list, query);
    std::vector<double> sorted;
    for (size_t i = 0; i < list.rows; ++i) sorted.push_back(Truth(query, list, i));
    const std::vector<double> truths = sorted;
    std::sort(sorted.begin(), sorted.end());
    scan.tau = static_cast<float>(sorted[list.rows / 4]);
    // Dimensions outside of the code plane may hide more than the bound allows for by itself.
    scan.eps = codec_->code_dim() < dim() ? 40 : 12;
    std::vector<bool> found(list.rows, false);
    int64_t last = -1;
    std::vector<Survivor> survivors = Scan(*codec_, *code_, scan);
    for (const Survivor& s : survivors) {
      ASSERT_LT(s.slot, list.rows);
      ASSERT_TRUE(std::isfinite(s.estimate));
      ASSERT_GT(int64_t{s.slot}, last) << "slots ascend";
      last = s.slot;
      found[s.slot] = true;
    }
    for (size_t i = 0; i < list.rows; ++i) {
      if (truths[i] < scan.tau) {
        EXPECT_TRUE(found[i]) << i << " of " << list.rows;
      }
    }
    codec_->FineEstimates(*code_, list.fine_plane.data(), scan.head_distance2, scan.head_dot,
                          survivors);
    for (const Survivor& s : survivors) ASSERT_TRUE(std::isfinite(s.estimate));
  }

  std::mt19937_64 rng_;
  std::unique_ptr<RaBitQCodec> codec_;
  std::unique_ptr<QueryCode> code_;
};

TEST_P(RaBitQEncodeTest, WideBoundsLoseNoRow) {
  for (const size_t row_count : {1, 63, 64, 65, 300}) {
    const Neighbourhood hood = MakeNeighbourhood(metric(), dim(), row_count, 1, rng_);
    ExpectNoRowLost(EncodeValid(hood.head, hood.rows), hood.queries.data());
  }
}

TEST_P(RaBitQEncodeTest, NoRows) {
  const std::vector<float> head(dim(), 1.0F);
  const EncodedList list = EncodeValid(head, {});
  codec_->PrepareQuery(head.data(), code_.get());
  EXPECT_TRUE(Scan(*codec_, *code_, ScanOf(list, head.data())).empty());
}

TEST_P(RaBitQEncodeTest, RowsOnTheirHeadAreAsFarAsIt) {
  const Neighbourhood hood = MakeNeighbourhood(metric(), dim(), 40, 1, rng_);
  // A head of its own length, so that rows on it are rows of a cosine field.
  const std::vector<float> head(hood.rows.begin(), hood.rows.begin() + static_cast<long>(dim()));
  std::vector<float> on_head;
  for (int i = 0; i < 70; ++i) on_head.insert(on_head.end(), head.begin(), head.end());
  std::vector<float> mixed = on_head;
  mixed.insert(mixed.end(), hood.rows.begin(), hood.rows.end());
  for (const auto& rows : {on_head, mixed}) {
    const EncodedList list = EncodeValid(head, rows);
    const float* query = hood.queries.data();
    ExpectNoRowLost(list, query);
    const ListScan scan = ScanOf(list, query);
    const double spread =
        std::sqrt(Dot(query, query, dim())) + std::sqrt(Dot(head.data(), head.data(), dim()));
    for (const Survivor& s : Scan(*codec_, *code_, scan)) {
      if (s.slot >= 70) continue;
      const double truth = Truth(query, list, s.slot);
      const float fine =
          codec_->FineEstimate(*code_, list.fine_plane.data() + s.slot * codec_->FineRecordBytes(),
                               scan.head_distance2, scan.head_dot);
      EXPECT_NEAR(fine, truth, 1e-5 * spread * spread);
      if (rows.size() == on_head.size()) {
        EXPECT_NEAR(s.estimate, truth, 1e-4 * spread * spread);
      }
    }
  }
}

TEST_P(RaBitQEncodeTest, DuplicatesAreTheSame) {
  Neighbourhood hood = MakeNeighbourhood(metric(), dim(), 90, 1, rng_);
  for (const size_t twin : {1, 64, 89}) {
    std::copy_n(hood.rows.begin(), dim(), hood.rows.begin() + static_cast<ptrdiff_t>(twin * dim()));
  }
  const EncodedList list = EncodeValid(hood.head, hood.rows);
  codec_->PrepareQuery(hood.queries.data(), code_.get());
  const std::vector<Survivor> all = Scan(*codec_, *code_, ScanOf(list, hood.queries.data()));
  ASSERT_EQ(all.size(), 90U);
  const size_t record = codec_->FineRecordBytes();
  for (const size_t twin : {1, 64, 89}) {
    EXPECT_EQ(all[twin].estimate, all[0].estimate);
    EXPECT_EQ(std::memcmp(list.fine_plane.data(), list.fine_plane.data() + twin * record, record),
              0);
  }
}

TEST_P(RaBitQEncodeTest, ZeroRowsQueriesAndHeads) {
  const std::vector<float> zero(dim());
  Neighbourhood hood = MakeNeighbourhood(metric(), dim(), 100, 1, rng_);
  std::fill_n(hood.rows.begin() + static_cast<ptrdiff_t>(5 * dim()), dim(), 0.0F);
  for (const auto& head : {hood.head, zero}) {
    const EncodedList list = EncodeValid(head, hood.rows);
    ExpectNoRowLost(list, hood.queries.data());
    ExpectNoRowLost(list, zero.data());
    if (metric() == Metric::kL2) continue;
    // A zero query scores every row alike.
    codec_->PrepareQuery(zero.data(), code_.get());
    for (const Survivor& s : Scan(*codec_, *code_, ScanOf(list, zero.data()))) {
      EXPECT_EQ(s.estimate, metric() == Metric::kCosine ? 2 : 0);
    }
  }
}

// Far outside of what squares in f32: bytes stay valid and estimates finite.
TEST_P(RaBitQEncodeTest, ExtremeLengthsGiveValidPlanes) {
  if (metric() == Metric::kCosine) GTEST_SKIP() << "rows are of unit length";
  for (const float scale : {1e-44F, 1e-38F, 1e-25F, 1e17F, 1e25F, 1e37F}) {
    Neighbourhood hood = MakeNeighbourhood(metric(), dim(), 80, 1, rng_);
    for (auto* values : {&hood.head, &hood.rows, &hood.queries}) {
      for (float& v : *values) v *= scale;
    }
    const EncodedList list = EncodeValid(hood.head, hood.rows);
    codec_->PrepareQuery(hood.queries.data(), code_.get());
    const std::vector<Survivor> all = Scan(*codec_, *code_, ScanOf(list, hood.queries.data()));
    EXPECT_EQ(all.size(), 80U);
  }
  // One row far from all others must not blur them beyond use.
  Neighbourhood hood = MakeNeighbourhood(metric(), dim(), 80, 1, rng_);
  for (size_t i = 0; i < dim(); ++i) hood.rows[i] *= 1e6F;
  ExpectNoRowLost(EncodeValid(hood.head, hood.rows), hood.queries.data());
}

TEST_P(RaBitQEncodeTest, RowsDecodeToAboutThemselves) {
  const Neighbourhood hood = MakeNeighbourhood(metric(), dim(), 70, 1, rng_);
  const EncodedList list = EncodeValid(hood.head, hood.rows);
  std::vector<float> row(dim());
  for (uint32_t slot = 0; slot < list.rows; ++slot) {
    const double residual2 = Distance2(list.row(slot), hood.head.data(), dim());
    codec_->DecodeRow(hood.head.data(), list.code_plane.data(), slot,
                      list.fine_plane.data() + slot * codec_->FineRecordBytes(), row.data());
    EXPECT_LT(Distance2(row.data(), list.row(slot), dim()), 0.05 * residual2 + 1e-9);
    codec_->DecodeRow(hood.head.data(), list.code_plane.data(), slot, nullptr, row.data());
    for (const float v : row) ASSERT_TRUE(std::isfinite(v));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, RaBitQEncodeTest,
    testing::Combine(testing::Values(Metric::kL2, Metric::kInnerProduct, Metric::kCosine),
                     testing::Values(Dims{1, 1}, Dims{2, 2}, Dims{3, 2}, Dims{4, 4}, Dims{5, 5},
                                     Dims{6, 6}, Dims{7, 7}, Dims{8, 8}, Dims{64, 64},
                                     Dims{100, 100}, Dims{128, 64}, Dims{513, 200},
                                     Dims{1536, 400})),
    [](const auto& param) {
      const Dims dims = std::get<1>(param.param);
      return std::string(base::ToString(std::get<0>(param.param))) + "Dim" +
             std::to_string(std::get<0>(dims)) + "Code" + std::to_string(std::get<1>(dims));
    });

}  // namespace
}  // namespace tessera::index
