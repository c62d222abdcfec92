#include "bench/ground_truth.h"

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/bench/vector_data.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::bench {
namespace {

using testing::ElementsAre;

// Every pair in long double, sorted by (distance, id): nothing shared with the code under test.
std::vector<uint32_t> NaiveNeighbours(base::Metric metric, const float* query,
                                      const std::vector<float>& rows, size_t dim, uint32_t k) {
  const size_t count = rows.size() / dim;
  std::vector<std::pair<double, uint32_t>> order(count);
  for (size_t row = 0; row < count; ++row) {
    long double dot = 0;
    long double gap2 = 0;
    long double a2 = 0;
    long double b2 = 0;
    for (size_t i = 0; i < dim; ++i) {
      const long double a = query[i];
      const long double b = rows[row * dim + i];
      dot += a * b;
      gap2 += (a - b) * (a - b);
      a2 += a * a;
      b2 += b * b;
    }
    long double distance = gap2;
    if (metric == base::Metric::kInnerProduct) distance = -dot;
    if (metric == base::Metric::kCosine) {
      distance = a2 == 0 || b2 == 0 ? 0 : -dot / std::sqrt(a2 * b2);
    }
    order[row] = {static_cast<double>(distance), static_cast<uint32_t>(row)};
  }
  std::sort(order.begin(), order.end());
  std::vector<uint32_t> ids;
  for (uint32_t i = 0; i < k; ++i) ids.push_back(order[i].second);
  return ids;
}

std::unique_ptr<VectorFile> OpenFbin(const TempDir& dir, const std::string& name, size_t dim,
                                     const std::vector<float>& values) {
  const std::string path = dir.File(name);
  WriteFile(path, FbinBytes(static_cast<uint32_t>(values.size() / dim), static_cast<uint32_t>(dim),
                            values));
  auto file = VectorFile::Open(path);
  TESSERA_CHECK(file.ok());
  return *std::move(file);
}

class GroundTruthTest : public testing::TestWithParam<base::Metric> {};

TEST_P(GroundTruthTest, AgreesWithEveryPairInLongDouble) {
  const size_t dim = 19;
  std::mt19937_64 rng(TestSeed());
  const std::vector<float> rows = ClusteredRows(rng, 3000, dim);
  const std::vector<float> queries = ClusteredRows(rng, 30, dim);
  TempDir dir;
  const auto base = OpenFbin(dir, "base.fbin", dim, rows);
  const auto truth = ComputeGroundTruth(*base, queries, GetParam(), 25);
  ASSERT_OK(truth);
  ASSERT_EQ(truth->queries, 30U);
  ASSERT_EQ(truth->k, 25U);
  for (size_t q = 0; q < 30; ++q) {
    const std::vector<uint32_t> got(truth->ids.begin() + static_cast<ptrdiff_t>(q * 25),
                                    truth->ids.begin() + static_cast<ptrdiff_t>(q * 25 + 25));
    EXPECT_EQ(got, NaiveNeighbours(GetParam(), &queries[q * dim], rows, dim, 25)) << "query " << q;
    for (size_t i = 0; i < 25; ++i) {
      const double want = ExactDistance(GetParam(), &queries[q * dim], &rows[got[i] * dim], dim);
      EXPECT_EQ(truth->distances[q * 25 + i], static_cast<float>(want));
    }
  }
}

// Rows far from the origin with tiny differences: float inner products order them wrongly, so only
// the second scan in double precision gets this right.
TEST_P(GroundTruthTest, IsExactWhereFloatArithmeticIsNot) {
  const size_t dim = 8;
  std::mt19937_64 rng(TestSeed());
  std::vector<float> rows(2000 * dim);
  for (float& value : rows) value = 4096 + static_cast<float>(rng() % 64) / 64;
  const std::vector<float> queries(rows.begin(), rows.begin() + 5 * dim);
  TempDir dir;
  const auto base = OpenFbin(dir, "base.fbin", dim, rows);
  const auto truth = ComputeGroundTruth(*base, queries, GetParam(), 10);
  ASSERT_OK(truth);
  for (size_t q = 0; q < 5; ++q) {
    const std::vector<uint32_t> got(truth->ids.begin() + static_cast<ptrdiff_t>(q * 10),
                                    truth->ids.begin() + static_cast<ptrdiff_t>(q * 10 + 10));
    const auto want = NaiveNeighbours(GetParam(), &queries[q * dim], rows, dim, 10);
    for (size_t i = 0; i < 10; ++i) {  // rows at the same double distance may swap under cosine
      EXPECT_EQ(ExactDistance(GetParam(), &queries[q * dim], &rows[got[i] * dim], dim),
                ExactDistance(GetParam(), &queries[q * dim], &rows[want[i] * dim], dim));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryMetric, GroundTruthTest,
                         testing::Values(base::Metric::kL2, base::Metric::kInnerProduct,
                                         base::Metric::kCosine),
                         [](const auto& param) {
                           return std::string(base::ToString(param.param));
                         });

TEST(GroundTruth, TiesGoToTheSmallerId) {
  TempDir dir;
  std::vector<float> rows(400);  // 200 copies of two rows, alternating
  for (size_t row = 0; row < 200; ++row) rows[row * 2 + row % 2] = 1;
  const auto base = OpenFbin(dir, "base.fbin", 2, rows);
  const auto truth = ComputeGroundTruth(*base, {0, 1}, base::Metric::kL2, 4);
  ASSERT_OK(truth);
  EXPECT_THAT(truth->ids, ElementsAre(1, 3, 5, 7));
}

TEST(GroundTruth, AZeroVectorScoresZeroUnderCosine) {
  TempDir dir;
  const auto base = OpenFbin(dir, "base.fbin", 2, {-1, 0, 0, 0, 1, 1});
  const auto truth =
      ComputeGroundTruth(*base, {1, 0, /* and a zero query: */ 0, 0}, base::Metric::kCosine, 3);
  ASSERT_OK(truth);
  EXPECT_THAT(truth->ids, ElementsAre(2, 1, 0, /* all tie: */ 0, 1, 2));
  EXPECT_EQ(truth->distances[1], 0);
  EXPECT_EQ(truth->distances[5], 0);
}

TEST(GroundTruth, KIsCutToTheRowCount) {
  TempDir dir;
  const auto base = OpenFbin(dir, "base.fbin", 1, {3, 1, 2});
  const auto truth = ComputeGroundTruth(*base, {0}, base::Metric::kL2, 10);
  ASSERT_OK(truth);
  EXPECT_THAT(truth->ids, ElementsAre(1, 2, 0));
}

TEST(GroundTruth, SurvivesItsFileAndDamageIsDataLoss) {
  TempDir dir;
  GroundTruth truth{.queries = 2, .k = 2, .ids = {4, 3, 2, 1}, .distances = {0, 1, 2, 3.5F}};
  const std::string path = dir.File("truth.bin");
  ASSERT_OK(WriteGroundTruth(truth, path));
  const auto read = ReadGroundTruth(path);
  ASSERT_OK(read);
  EXPECT_EQ(read->ids, truth.ids);
  EXPECT_EQ(read->distances, truth.distances);
  std::filesystem::resize_file(path, 39);
  EXPECT_EQ(ReadGroundTruth(path).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReadGroundTruth(dir.File("none")).status().code(), absl::StatusCode::kNotFound);
}

TEST(GroundTruth, CacheIsReusedForTheSameFilesOnly) {
  TempDir dir;
  const auto base = OpenFbin(dir, "base.fbin", 1, {3, 1, 2});
  const auto queries = OpenFbin(dir, "query.fbin", 1, {0});
  const std::string cache = dir.File("cache");
  ASSERT_OK(CachedGroundTruth(*base, *queries, base::Metric::kL2, 2, cache));
  ASSERT_EQ(std::distance(std::filesystem::directory_iterator(cache), {}), 1);
  // What is in the cache is what comes back, so plant something else there.
  const GroundTruth planted{.queries = 1, .k = 2, .ids = {9, 9}, .distances = {0, 0}};
  const std::string path = std::filesystem::directory_iterator(cache)->path().string();
  ASSERT_OK(WriteGroundTruth(planted, path));
  const auto again = CachedGroundTruth(*base, *queries, base::Metric::kL2, 2, cache);
  ASSERT_OK(again);
  EXPECT_THAT(again->ids, ElementsAre(9, 9));
  const auto other = OpenFbin(dir, "other.fbin", 1, {1, 3, 2});
  const auto fresh = CachedGroundTruth(*other, *queries, base::Metric::kL2, 2, cache);
  ASSERT_OK(fresh);
  EXPECT_THAT(fresh->ids, ElementsAre(0, 2));
}

TEST(GroundTruth, QueriesOfAnotherDimensionAreRefused) {
  TempDir dir;
  const auto base = OpenFbin(dir, "base.fbin", 1, {3, 1, 2});
  const auto queries = OpenFbin(dir, "query.fbin", 2, {0, 0});
  EXPECT_EQ(CachedGroundTruth(*base, *queries, base::Metric::kL2, 2, "").status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace tessera::bench
