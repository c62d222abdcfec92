// Many equal rows: what is promised of ties and of scores at their bound.
#include <cstdint>
#include <set>
#include <vector>

#include "gtest/gtest.h"

#include "query/searcher.h"
#include "tests/query/index_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::query {
namespace {

using base::ElementType;
using base::Metric;

class TiesTest : public testing::TestWithParam<ElementType> {};

TEST_P(TiesTest, EqualRowsAreReturnedOnceEachAndExactlyByTheSmallestIds) {
  const TestIndexOptions options{
      .field = {.name = "", .dim = 24, .metric = Metric::kL2, .type = GetParam()}};
  ClusteredData data(TestSeed(), options.field);
  std::vector<TestRow> rows = data.DrawRows(1500);
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].id = base::PointId(uint64_t{i});
    if (i < 700) rows[i].vector = rows[0].vector;
  }
  const std::vector<float> query = ElementFloats(GetParam(), rows[0].vector);
  const TestIndex index(options, rows);
  Searcher searcher;
  for (const bool exact : {false, true}) {
    for (const uint32_t limit : {1U, 10U, 300U}) {
      SearchRequest request;
      request.limit = limit;
      request.exact = exact;
      request.settings = {.nprobe = 20, .eps = 1.4F, .rerank = limit};
      std::vector<Hit> hits;
      SearchStats stats;
      ASSERT_OK(searcher.Search(index.View(), query, request, &hits, &stats));
      ASSERT_EQ(hits.size(), limit);
      std::set<base::RowId> seen;
      for (size_t i = 0; i < hits.size(); ++i) {
        EXPECT_EQ(hits[i].dissimilarity, 0);
        EXPECT_TRUE(seen.insert(hits[i].row).second);
        EXPECT_TRUE(i == 0 || hits[i - 1].id < hits[i].id);
        EXPECT_TRUE(!exact || hits[i].id == HitId::Number(i)) << i;
      }
    }
  }
}

// Every path to a score: lists, exact scan, fresh rows.
TEST_P(TiesTest, CosinesNeverPassOneNorMinusOne) {
  const TestIndexOptions options{
      .field = {.name = "", .dim = 96, .metric = Metric::kCosine, .type = GetParam()}};
  ClusteredData data(TestSeed(), options.field);
  std::vector<TestRow> rows = data.DrawRows(1200);
  FreshRows fresh(rows[0].vector.size());
  for (size_t i = 0; i < 200; ++i) {
    fresh.Append(base::RowId{100'000 + i}, base::PointId(uint64_t{100'000 + i}), 1, rows[i].vector);
  }
  const TestIndex index(options, rows);
  const SearchView view = index.View(fresh.Snapshot());
  Searcher searcher;
  for (size_t i = 0; i < 400; ++i) {
    const std::vector<float> query = ElementFloats(GetParam(), rows[i].vector);
    SearchRequest request;
    request.exact = i % 2 == 0;
    request.settings = {.nprobe = 4, .eps = 1.4F, .rerank = 20};
    std::vector<Hit> hits;
    SearchStats stats;
    ASSERT_OK(searcher.Search(view, query, request, &hits, &stats));
    for (const Hit& hit : hits) EXPECT_GE(hit.dissimilarity, -1.0F);
    ASSERT_FALSE(hits.empty());
    EXPECT_NEAR(hits[0].dissimilarity, -1, 1e-5);
    request.dissimilarity_max = -0.99999F;
    ASSERT_OK(searcher.Search(view, query, request, &hits, &stats));
    EXPECT_GE(hits.size(), i < 200 ? 2U : 1U);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TiesTest,
                         testing::Values(ElementType::kF32, ElementType::kF16, ElementType::kI8,
                                         ElementType::kU8),
                         [](const auto& param) {
                           return std::string(base::ToString(param.param));
                         });

}  // namespace
}  // namespace tessera::query
