// Every peer on 2,000 rows: it must find what brute force finds, under every metric, with external
// ids, and more of it at a higher setting.
#include <random>

#include "gtest/gtest.h"

#include "bench/engines/engine.h"
#include "bench/ground_truth.h"
#include "bench/peers/faiss_engine.h"
#include "bench/peers/hnswlib_engine.h"
#include "bench/recall.h"
#include "tests/bench/vector_data.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::bench {
namespace {

constexpr uint32_t kDim = 24;
constexpr uint32_t kNeighbours = 10;

using Factory = std::unique_ptr<Engine> (*)(const EngineOptions&);

class PeersTest : public testing::TestWithParam<std::tuple<Factory, base::Metric>> {};

TEST_P(PeersTest, FindsWhatBruteForceFinds) {
  const auto [factory, metric] = GetParam();
  std::mt19937_64 rng(5);
  const std::vector<float> rows = ClusteredRows(rng, 2000, kDim);
  const std::vector<float> queries(rows.begin(), rows.begin() + 100 * kDim);
  TempDir dir;
  WriteFile(dir.File("base.fbin"), FbinBytes(2000, kDim, rows));
  const auto base = VectorFile::Open(dir.File("base.fbin"));
  ASSERT_OK(base);
  const auto truth = ComputeGroundTruth(**base, queries, metric, kNeighbours);
  ASSERT_OK(truth);

  const auto engine = factory({.metric = metric, .k = kNeighbours, .build_threads = 1});
  ASSERT_OK(engine->Build(**base));
  const auto sweep = engine->DefaultSweep();
  ASSERT_GE(sweep.size(), 2U);
  std::vector<double> recalls;
  for (const SearchPoint& point : {sweep.front(), sweep.back()}) {
    ASSERT_OK(engine->Configure(point));
    std::vector<std::vector<uint64_t>> answers(100);
    for (size_t q = 0; q < answers.size(); ++q) {
      ASSERT_OK(engine->Search({&queries[q * kDim], kDim}, &answers[q]));
    }
    const auto recall = RecallAtK(*truth, kNeighbours, answers, [&](uint32_t q, uint64_t id) {
      return absl::StatusOr<double>(
          ExactDistance(metric, &queries[q * kDim], &rows[id * kDim], kDim));
    });
    ASSERT_OK(recall);
    recalls.push_back(*recall);
  }
  EXPECT_GE(recalls[1], 0.98) << engine->description();
  EXPECT_GE(recalls[1], recalls[0]);
}

TEST_P(PeersTest, AnUnknownSettingIsInvalid) {
  const auto engine = std::get<0>(GetParam())({});
  EXPECT_EQ(engine->Configure({{"magic", 1}}).code(), absl::StatusCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(EveryPeerAndMetric, PeersTest,
                         testing::Combine(testing::Values(NewHnswlibEngine, NewFaissEngine),
                                          testing::Values(base::Metric::kL2,
                                                          base::Metric::kInnerProduct,
                                                          base::Metric::kCosine)));

TEST(SearchPoints, CrossProductVariesTheLastParameterFastest) {
  const auto points = CrossProduct({{"a", {1, 2}}, {"b", {3, 4}}});
  ASSERT_EQ(points.size(), 4U);
  EXPECT_EQ(points[0], (SearchPoint{{"a", 1}, {"b", 3}}));
  EXPECT_EQ(points[1], (SearchPoint{{"a", 1}, {"b", 4}}));
  EXPECT_EQ(points[3], (SearchPoint{{"a", 2}, {"b", 4}}));
}

}  // namespace
}  // namespace tessera::bench
