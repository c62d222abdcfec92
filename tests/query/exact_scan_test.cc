#include "query/exact_scan.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"

#include "index/distance.h"
#include "index/raw_plane.h"
#include "tests/query/index_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::query {
namespace {

constexpr size_t kLimit = 15;

class ExactScanTest : public testing::Test {
 protected:
  ExactScanTest()
      : data_(TestSeed(), options_.field),
        index_(options_, data_.DrawRows(3000)),
        view_(index_.View()) {}

  SearchContext Context() {
    return {view_, request_, distance_, guard_, stats_, eligible_, space_};
  }

  const TestIndexOptions options_{.parts_per_list = 2};
  ClusteredData data_;
  TestIndex index_;
  SearchView view_;
  SearchRequest request_;
  index::RowDistance distance_;
  storage::CacheGuard guard_;
  SearchStats stats_;
  Eligibility eligible_{view_};
  SearchSpace space_;
};

TEST_F(ExactScanTest, ServesManyQueriesInOnePass) {
  view_ = {};  // uses the cache that goes
  index_.ResetCache(storage::PageCache::kCapacityMin);
  view_ = index_.View();
  constexpr size_t kQueries = 9;
  std::vector<std::vector<float>> queries;
  std::vector<index::RowDistance> distances(kQueries);
  std::vector<TopHits> hits(kQueries);
  std::vector<ExactTarget> targets;
  for (size_t i = 0; i < kQueries; ++i) {
    queries.push_back(data_.DrawQuery());
    distances[i].Prepare(options_.field.metric, options_.field.type, queries[i]);
    hits[i].Reset(kLimit);
    targets.push_back({&distances[i], &hits[i]});
  }
  const auto parts = static_cast<uint32_t>(view_.index->parts.size());
  ASSERT_OK(ExactScanParts(Context(), 0, parts / 3, targets));
  ASSERT_OK(ExactScanParts(Context(), parts / 3, parts, targets));
  EXPECT_EQ(stats_.reranked, kQueries * 3000);
  for (size_t i = 0; i < kQueries; ++i) {
    std::vector<Hit> found;
    hits[i].TakeSorted(&found);
    const std::vector<Hit> truth = index_.Nearest(queries[i], kLimit);
    ASSERT_EQ(found.size(), truth.size());
    for (size_t j = 0; j < found.size(); ++j) EXPECT_EQ(found[j].row, truth[j].row);
  }
}

TEST_F(ExactScanTest, VisitsEveryUnitOnce) {
  std::set<base::RowId> rows;
  std::set<std::tuple<uint32_t, uint32_t>> units;
  const index::RawUnitShape shape(options_.field);
  const auto parts = static_cast<uint32_t>(view_.index->parts.size());
  for (int round = 0; round < 2; ++round) {  // from disk, then from memory
    rows.clear();
    units.clear();
    ASSERT_OK(VisitRawUnits(Context(), 0, parts, [&](const RawUnit& unit) {
      EXPECT_TRUE(units.emplace(unit.part, unit.first_slot).second);
      for (uint32_t row = 0; row < unit.rows; ++row) {
        rows.insert(index::RawRowId(shape.Header(unit.bytes, row)));
      }
    }));
    EXPECT_EQ(rows.size(), 3000U);
  }
  EXPECT_OK(VisitRawUnits(Context(), 5, 5, [](const RawUnit&) { FAIL(); }));
}

TEST_F(ExactScanTest, TellsTheDissimilaritiesOfFreshRows) {
  FreshRows fresh(options_.field.dim * sizeof(float));
  for (const TestRow& row : data_.DrawRows(100, 50'000)) {
    fresh.Append(row.row, row.id, row.version, row.vector);
  }
  fresh.MarkDead(3);
  view_ = index_.View(fresh.Snapshot());
  const std::vector<float> query = data_.DrawQuery();
  distance_.Prepare(options_.field.metric, options_.field.type, query);
  TopHits hits;
  hits.Reset(kLimit);
  const ExactTarget target{.distance = &distance_, .hits = &hits};
  std::vector<float> noted;
  ExactScanFresh(Context(), {&target, 1}, [&](float d) { noted.push_back(d); });
  ASSERT_EQ(noted.size(), 99U);
  std::sort(noted.begin(), noted.end());
  std::vector<Hit> found;
  hits.TakeSorted(&found);
  ASSERT_EQ(found.size(), kLimit);
  for (size_t i = 0; i < kLimit; ++i) EXPECT_EQ(found[i].dissimilarity, noted[i]);
}

}  // namespace
}  // namespace tessera::query
