// The magnitude of the rows must change neither what is found nor what finding it costs.
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"

#include "query/searcher.h"
#include "tests/query/index_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::query {
namespace {

using base::Metric;

constexpr size_t kRows = 3000;
constexpr size_t kQueries = 40;

class ScaleTest : public testing::TestWithParam<std::tuple<Metric, int>> {
 protected:
  struct Cost {
    double recall = 0;
    double survivors = 0;
    double reranked = 0;
  };

  // Rows and queries times 2^exponent.
  Cost Measure(int exponent) {
    const TestIndexOptions options{.field = {.name = "",
                                             .dim = 40,
                                             .metric = std::get<0>(GetParam()),
                                             .type = base::ElementType::kF32}};
    ClusteredData data(TestSeed(), options.field);
    std::vector<TestRow> rows = data.DrawRows(kRows);
    for (TestRow& row : rows) {
      for (size_t i = 0; i < row.vector.size(); i += sizeof(float)) {
        float value = 0;
        std::memcpy(&value, &row.vector[i], sizeof(float));
        value = std::ldexp(value, exponent);
        std::memcpy(&row.vector[i], &value, sizeof(float));
      }
    }
    const TestIndex index(options, std::move(rows));
    SearchRequest request;
    request.settings = {.nprobe = index.view().list_count() / 4, .eps = 1.4F, .rerank = 20};
    Searcher searcher;
    Cost cost;
    for (size_t i = 0; i < kQueries; ++i) {
      std::vector<float> query = data.DrawQuery();
      for (float& value : query) value = std::ldexp(value, exponent);
      std::vector<Hit> hits;
      SearchStats stats;
      EXPECT_OK(searcher.Search(index.View(), query, request, &hits, &stats));
      cost.recall += RecallOf(hits, index.Nearest(query, 10)) / kQueries;
      cost.survivors += static_cast<double>(stats.survivors) / kQueries;
      cost.reranked += static_cast<double>(stats.reranked) / kQueries;
    }
    return cost;
  }
};

TEST_P(ScaleTest, ScaledRowsCostTheSame) {
  const Cost usual = Measure(0);
  const Cost scaled = Measure(std::get<1>(GetParam()));
  EXPECT_GE(usual.recall, 0.8);
  EXPECT_NEAR(scaled.recall, usual.recall, 0.03);
  EXPECT_NEAR(scaled.survivors, usual.survivors, 0.1 * usual.survivors + 5);
  EXPECT_NEAR(scaled.reranked, usual.reranked, 1);
}

INSTANTIATE_TEST_SUITE_P(All, ScaleTest,
                         testing::Combine(testing::Values(Metric::kL2, Metric::kInnerProduct,
                                                          Metric::kCosine),
                                          testing::Values(-70, -60, 50)),
                         [](const auto& param) {
                           const int exponent = std::get<1>(param.param);
                           return std::string(base::ToString(std::get<0>(param.param))) +
                                  (exponent < 0 ? "Tiny" : "Huge") +
                                  std::to_string(std::abs(exponent));
                         });

}  // namespace
}  // namespace tessera::query
