// Searches under filters of which only the matches are known, against all matches compared.
#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "index/raw_plane.h"
#include "query/calibration/calibrator.h"
#include "query/plan.h"
#include "query/searcher.h"
#include "tests/query/index_fixture.h"
#include "tests/query/number_filter.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::query {
namespace {

class FilteredSearchTest : public testing::TestWithParam<base::ElementType> {
 protected:
  static constexpr size_t kRows = 6000;

  FilteredSearchTest()
      : data_(TestSeed(), options_.field), index_(options_, data_.DrawRows(kRows)) {}

  // Live rows that pass, nearest first.
  std::vector<Hit> Truth(const std::vector<float>& query, const NumberFilter& filter,
                         size_t limit) const {
    std::vector<Hit> all = index_.Nearest(query, kRows);
    std::erase_if(all, [&](const Hit& hit) { return !filter.passes(hit.row.value - 1); });
    if (all.size() > limit) all.resize(limit);
    return all;
  }

  std::vector<Hit> Search(const SearchView& view, const std::vector<float>& query,
                          const SearchGoal& goal) {
    const SearchRequest request = Plan(goal, view);
    std::vector<Hit> hits;
    EXPECT_OK(searcher_.Search(view, query, request, &hits, &stats_));
    return hits;
  }

  // A random share of the rows.
  Pass Share(double share) {
    std::vector<bool> chosen(kRows);
    std::bernoulli_distribution coin(share);
    for (size_t i = 0; i < kRows; ++i) chosen[i] = coin(data_.rng());
    return [chosen](size_t number) { return chosen[number]; };
  }
  // The `count` rows nearest to or farthest from a query.
  Pass Around(const std::vector<float>& query, size_t count, bool nearest) const {
    const std::vector<Hit> all = index_.Nearest(query, kRows);
    std::vector<bool> chosen(kRows);
    for (size_t i = 0; i < std::min(count, all.size()); ++i) {
      chosen[(nearest ? all[i] : all[all.size() - 1 - i]).row.value - 1] = true;
    }
    return [chosen](size_t number) { return chosen[number]; };
  }

  // The view with what its lists were measured to need.
  SearchView Calibrated() {
    SearchView view = index_.View();
    auto index = std::make_shared<IndexView>(*view.index);
    auto calibration = Calibrate(view, {.queries_max = 200, .thread_count = 1});
    EXPECT_OK(calibration.status());
    index->calibration = *std::move(calibration);
    view.index = std::move(index);
    return view;
  }

  const TestIndexOptions options_{
      .field = {.name = "", .dim = 32, .metric = base::Metric::kL2, .type = GetParam()},
      .parts_per_list = 2};
  ClusteredData data_;
  TestIndex index_;
  Searcher searcher_;
  SearchStats stats_;
};

TEST_P(FilteredSearchTest, ExactPlansEqualBruteForce) {
  std::vector<size_t> dead;
  for (size_t i = 0; i < kRows; i += 7) dead.push_back(i);
  index_.Kill(dead);
  const SearchView view = index_.View();
  for (const double share : {1.0, 0.5, 0.05, 0.002, 0.0}) {
    const NumberFilter filter(index_, Share(share));
    const std::vector<float> query = data_.DrawQuery();
    for (const bool forced : {false, true}) {
      const std::vector<Hit> hits =
          Search(view, query,
                 {.limit = 20,
                  .exact = !forced,
                  .filter = &filter,
                  .plan = forced ? FilterPlan::kExact : FilterPlan::kAuto});
      const std::vector<Hit> truth = Truth(query, filter, 20);
      ASSERT_EQ(hits.size(), truth.size()) << share;
      for (size_t i = 0; i < hits.size(); ++i) EXPECT_EQ(hits[i].row, truth[i].row) << share;
      EXPECT_EQ(stats_.reranked, Truth(query, filter, kRows).size());
    }
  }
}

TEST_P(FilteredSearchTest, ExactPlansReadTheUnitsOfMatchesOnly) {
  index_.ResetCache(storage::PageCache::kCapacityMin);
  const SearchView view = index_.View();
  const NumberFilter filter(index_, [](size_t number) { return number == 1234; });
  ASSERT_EQ(Search(view, data_.DrawQuery(), {.limit = 5, .exact = true, .filter = &filter}).size(),
            1U);
  EXPECT_EQ(stats_.lists_probed, 1U);
  EXPECT_GT(stats_.bytes_read, 0U);
  EXPECT_LE(stats_.bytes_read, 2 * index::RawUnitStride(options_.field));
}

TEST_P(FilteredSearchTest, FindsAsManyRowsAsMatch) {
  const SearchView view = index_.View();
  for (int round = 0; round < 4; ++round) {
    const std::vector<float> query = data_.DrawQuery();
    for (const Pass& pass :
         {Share(0.0002), Share(0.002), Share(0.02), Around(query, 12, false),
          Around(query, 200, false), Around(query, 12, true), Share(0.0), Share(1.0)}) {
      const NumberFilter filter(index_, pass);
      const size_t expected = std::min<size_t>(10, filter.index()->rows);
      for (const FilterPlan plan : {FilterPlan::kAuto, FilterPlan::kProbe, FilterPlan::kExact}) {
        for (const uint32_t nprobe : {0U, 1U}) {
          const std::vector<Hit> hits =
              Search(view, query, {.limit = 10, .nprobe = nprobe, .filter = &filter, .plan = plan});
          EXPECT_EQ(hits.size(), expected);
          for (const Hit& hit : hits) EXPECT_TRUE(filter.passes(hit.row.value - 1));
        }
      }
    }
  }
}

TEST_P(FilteredSearchTest, ProbesNoListWithoutMatches) {
  const SearchView view = index_.View();
  const std::vector<float> query = data_.DrawQuery();
  const NumberFilter filter(index_, Around(query, 300, false));
  Search(view, query, {.limit = 5, .nprobe = 3, .filter = &filter, .plan = FilterPlan::kProbe});
  EXPECT_EQ(stats_.lists_eligible, filter.index()->lists_eligible);
  EXPECT_GE(stats_.lists_probed, 3U);
  EXPECT_LE(stats_.lists_probed, 5U);
  EXPECT_GT(stats_.blocks, 0U);
}

TEST_P(FilteredSearchTest, LooksAtCodesOnlyWhereManyRowsPass) {
  const SearchView view = index_.View();
  const std::vector<float> query = data_.DrawQuery();
  const NumberFilter few(index_, Share(0.01));
  Search(view, query, {.limit = 10, .nprobe = 40, .filter = &few});
  EXPECT_TRUE(stats_.codes_skipped);
  EXPECT_EQ(stats_.codes_scanned, 0U);
  EXPECT_GT(stats_.blocks_masked, 0U);
  const NumberFilter many(index_, Share(0.5));
  Search(view, query, {.limit = 10, .nprobe = 40, .filter = &many});
  EXPECT_FALSE(stats_.codes_skipped);
  EXPECT_GT(stats_.codes_scanned, 0U);
}

// Rows on disk alone, with and without a second plane that is worth reading.
TEST_P(FilteredSearchTest, ProbesFromDisk) {
  index_.ResetCache(storage::PageCache::kCapacityMin);
  const SearchView view = index_.View();
  for (const bool fetch_fine : {true, false}) {
    SearchView other = view;
    auto index = std::make_shared<IndexView>(*view.index);
    index->fetch_fine = fetch_fine;
    other.index = std::move(index);
    const NumberFilter filter(index_, Share(0.02));
    const std::vector<float> query = data_.DrawQuery();
    const std::vector<Hit> hits =
        Search(other, query, {.limit = 10, .nprobe = 1000, .oversampling = 8, .filter = &filter});
    EXPECT_GE(RecallOf(hits, Truth(query, filter, 10)), 0.9);
  }
}

TEST_P(FilteredSearchTest, HoldsTheTargetUnderFilters) {
  const SearchView view = Calibrated();
  constexpr double kTarget = 0.95;
  constexpr int kQueries = 150;
  for (const double share : {0.5, 0.1, 0.01, 0.001}) {
    const NumberFilter filter(index_, Share(share));
    for (const FilterPlan plan : {FilterPlan::kAuto, FilterPlan::kProbe}) {
      double recall = 0;
      for (int i = 0; i < kQueries; ++i) {
        const std::vector<float> query = data_.DrawQuery();
        const std::vector<Hit> truth = Truth(query, filter, 10);
        const std::vector<Hit> hits = Search(
            view, query, {.limit = 10, .recall_target = kTarget, .filter = &filter, .plan = plan});
        recall += truth.empty() ? 1 : RecallOf(hits, truth);
      }
      EXPECT_GE(recall / kQueries, kTarget - 0.02) << "share " << share;
    }
  }
  // Matches that lie together, near some queries and far from others.
  const NumberFilter cluster(index_, Around(data_.DrawQuery(), 400, true));
  double recall = 0;
  for (int i = 0; i < kQueries; ++i) {
    const std::vector<float> query = data_.DrawQuery();
    recall += RecallOf(Search(view, query,
                              {.limit = 10,
                               .recall_target = kTarget,
                               .filter = &cluster,
                               .plan = FilterPlan::kProbe}),
                       Truth(query, cluster, 10));
  }
  // One cluster is one draw, whatever the number of queries.
  EXPECT_GE(recall / kQueries, kTarget - 0.03);
}

TEST_P(FilteredSearchTest, PlansByPrice) {
  const SearchView view = index_.View();
  const NumberFilter few(index_, Share(0.003));
  const NumberFilter all(index_, Share(1.0));
  const SearchRequest exact = Plan({.limit = 10, .filter = &few}, view);
  EXPECT_TRUE(exact.exact);
  EXPECT_EQ(exact.settings.recall, 1);
  EXPECT_EQ(exact.prices.chosen, FilterPlan::kExact);
  EXPECT_EQ(exact.prices.matches, few.index()->rows);
  EXPECT_LE(exact.prices.exact_us, exact.prices.probe_us);
  const SearchRequest forced =
      Plan({.limit = 10, .filter = &few, .plan = FilterPlan::kProbe}, view);
  EXPECT_FALSE(forced.exact);
  EXPECT_EQ(forced.prices.exact_us, exact.prices.exact_us);
  const SearchRequest probe = Plan({.limit = 10, .recall_target = 0.9, .filter = &all}, view);
  EXPECT_FALSE(probe.exact);
  EXPECT_EQ(probe.prices.chosen, FilterPlan::kProbe);
  EXPECT_GE(forced.settings.nprobe, probe.settings.nprobe);
  EXPECT_EQ(Plan({.limit = 10}, view).prices.chosen, FilterPlan::kAuto);
  EXPECT_GE(Plan({.limit = 100, .filter = &all, .plan = FilterPlan::kProbe}, view).settings.rerank,
            150U);
}

INSTANTIATE_TEST_SUITE_P(Types, FilteredSearchTest,
                         testing::Values(base::ElementType::kF32, base::ElementType::kU8));

}  // namespace
}  // namespace tessera::query
