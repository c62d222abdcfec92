#include "query/searcher.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/query/index_fixture.h"
#include "tests/query/searcher_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::query {
namespace {

using testing::HasSubstr;

class SearcherOfEveryField
    : public testing::TestWithParam<std::tuple<Metric, ElementType, uint32_t>> {
 protected:
  SearcherOfEveryField()
      : field_(Field(std::get<0>(GetParam()), std::get<1>(GetParam()))),
        data_(TestSeed(), field_),
        index_({.field = field_, .parts_per_list = std::get<2>(GetParam())}, data_.DrawRows(2500)) {
  }

  base::VectorFieldSchema field_;
  ClusteredData data_;
  TestIndex index_;
  Searcher searcher_;
};

TEST_P(SearcherOfEveryField, ExactEqualsBruteForce) {
  for (size_t i = 0; i < kQueries; ++i) {
    const std::vector<float> query = data_.DrawQuery();
    for (const uint32_t limit : {1U, 10U, 300U}) {
      ExpectSameHits(SearchOk(searcher_, index_.View(), query, Exact(limit)),
                     index_.Nearest(query, limit));
    }
  }
}

TEST_P(SearcherOfEveryField, DissimilaritiesAreRight) {
  const std::vector<float> query = data_.DrawQuery();
  for (const Hit& hit : SearchOk(searcher_, index_.View(), query, Everything(50))) {
    const TestRow& row = index_.rows()[hit.row.value - 1];
    ASSERT_EQ(row.row, hit.row);
    const double want =
        TrueDissimilarity(field_.metric, query, ElementFloats(field_.type, row.vector));
    EXPECT_NEAR(hit.dissimilarity, want, 1e-4 * std::max(1.0, std::abs(want)));
  }
}

TEST_P(SearcherOfEveryField, WidestSettingsEqualBruteForce) {
  for (size_t i = 0; i < kQueries; ++i) {
    const std::vector<float> query = data_.DrawQuery();
    for (const uint32_t limit : {1U, 10U, 300U}) {
      ExpectSameHits(SearchOk(searcher_, index_.View(), query, Everything(limit)),
                     index_.Nearest(query, limit));
    }
  }
}

TEST_P(SearcherOfEveryField, OrdinarySettingsFindNearlyAll) {
  double recall = 0;
  constexpr size_t kMany = 60;
  const uint32_t nprobe = index_.view().list_count() / 2;
  for (size_t i = 0; i < kMany; ++i) {
    const std::vector<float> query = data_.DrawQuery();
    const std::vector<Hit> hits = SearchOk(searcher_, index_.View(), query, Probing(nprobe, 10));
    EXPECT_EQ(hits.size(), 10U);
    EXPECT_TRUE(std::is_sorted(hits.begin(), hits.end()));
    recall += RecallOf(hits, index_.Nearest(query, 10)) / kMany;
  }
  EXPECT_GE(recall, 0.9);
}

TEST_P(SearcherOfEveryField, NothingInMemoryGivesTheSameAnswers) {
  index_.ResetCache(kTinyCache);
  SearchStats stats;
  std::vector<Hit> hits;
  for (size_t i = 0; i < 4; ++i) {
    const std::vector<float> query = data_.DrawQuery();
    ASSERT_OK(searcher_.Search(index_.View(), query, Everything(10), &hits, &stats));
    EXPECT_GT(stats.bytes_read, kTinyCache);
    ExpectSameHits(hits, index_.Nearest(query, 10));
    ExpectSameHits(SearchOk(searcher_, index_.View(), query, Exact(10)), index_.Nearest(query, 10));
  }
}

TEST_P(SearcherOfEveryField, DeadRowsAreNeverFound) {
  std::vector<size_t> numbers;
  for (size_t i = 0; i < index_.rows().size(); ++i) {
    if (data_.rng()() % 3 == 0) numbers.push_back(i);
  }
  index_.Kill(numbers);
  for (size_t i = 0; i < kQueries; ++i) {
    const std::vector<float> query = data_.DrawQuery();
    const std::vector<Hit> truth = index_.Nearest(query, 20);
    ExpectSameHits(SearchOk(searcher_, index_.View(), query, Everything(20)), truth);
    ExpectSameHits(SearchOk(searcher_, index_.View(), query, Exact(20)), truth);
    for (const Hit& hit : SearchOk(searcher_, index_.View(), query, Probing(5, 20))) {
      EXPECT_FALSE(index_.dead(hit.row.value - 1));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SearcherOfEveryField,
                         testing::Combine(testing::Values(Metric::kL2, Metric::kInnerProduct,
                                                          Metric::kCosine),
                                          testing::Values(ElementType::kF32, ElementType::kF16,
                                                          ElementType::kI8, ElementType::kU8),
                                          testing::Values(1U, 3U)),
                         [](const auto& test) {
                           return absl::StrCat(std::string(base::ToString(std::get<0>(test.param))),
                                               "_",
                                               std::string(base::ToString(std::get<1>(test.param))),
                                               "_", std::get<2>(test.param), "parts");
                         });

TEST_F(SearcherTest, AsManyLiveRowsAsWantedAreReturned) {
  std::vector<size_t> numbers;
  for (size_t i = 0; i < index_.rows().size(); ++i) {
    if (i % 50 != 0) numbers.push_back(i);
  }
  index_.Kill(numbers);  // 40 are left, in as many lists
  for (size_t i = 0; i < kQueries; ++i) {
    const std::vector<float> query = data_.DrawQuery();
    for (const uint32_t limit : {1U, 10U, 39U, 40U, 41U}) {
      SearchRequest request = Probing(1, limit);
      request.settings.eps = 0;
      EXPECT_EQ(SearchOk(searcher_, index_.View(), query, request).size(), std::min(limit, 40U));
    }
  }
}

TEST_F(SearcherTest, LargestLimitReturnsEveryLiveRowInOrder) {
  const std::vector<float> query = data_.DrawQuery();
  const std::vector<Hit> truth = index_.Nearest(query, base::kLimitMax);
  ASSERT_EQ(truth.size(), index_.rows().size());
  ExpectSameHits(SearchOk(searcher_, index_.View(), query, Probing(1, base::kLimitMax)), truth);
  ExpectSameHits(SearchOk(searcher_, index_.View(), query, Exact(base::kLimitMax)), truth);
}

TEST_F(SearcherTest, AllRowsDeadFindsNothing) {
  std::vector<size_t> numbers(index_.rows().size());
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = i;
  index_.Kill(numbers);
  const std::vector<float> query = data_.DrawQuery();
  EXPECT_TRUE(SearchOk(searcher_, index_.View(), query, Probing(3, 10)).empty());
  EXPECT_TRUE(SearchOk(searcher_, index_.View(), query, Exact(10)).empty());
}

TEST_F(SearcherTest, FreshRowsAreFoundAmongTheOthers) {
  FreshRows fresh(field_.dim * sizeof(float));
  const std::vector<TestRow> rows = data_.DrawRows(700, 100'000);
  for (const TestRow& row : rows) fresh.Append(row.row, row.id, row.version, row.vector);
  for (uint64_t sequence = 0; sequence < 100; ++sequence) fresh.MarkDead(sequence);
  const FreshView snapshot = fresh.Snapshot();
  for (size_t i = 0; i < kQueries; ++i) {
    const std::vector<float> query = data_.DrawQuery();
    const std::vector<Hit> truth = index_.Nearest(query, 25, snapshot);
    ExpectSameHits(SearchOk(searcher_, index_.View(snapshot), query, Everything(25)), truth);
    ExpectSameHits(SearchOk(searcher_, index_.View(snapshot), query, Exact(25)), truth);
  }
  for (const size_t number : {100U, 350U, 699U}) {
    const std::vector<float> query = ElementFloats(field_.type, rows[number].vector);
    const std::vector<Hit> hits = SearchOk(searcher_, index_.View(snapshot), query, Probing(1, 5));
    ASSERT_EQ(hits.size(), 5U);
    EXPECT_EQ(hits[0].row, rows[number].row);
    EXPECT_EQ(hits[0].dissimilarity, 0);
  }
}

TEST_F(SearcherTest, FreshRowsAloneAreEnough) {
  FreshRows fresh(field_.dim * sizeof(float));
  const std::vector<TestRow> rows = data_.DrawRows(30);
  for (const TestRow& row : rows) fresh.Append(row.row, row.id, row.version, row.vector);
  const SearchView view{.field = field_, .index = nullptr, .live = {}, .fresh = fresh.Snapshot()};
  const std::vector<float> query = data_.DrawQuery();
  const std::vector<Hit> hits = SearchOk(searcher_, view, query, Probing(4, 50));
  EXPECT_EQ(hits.size(), 30U);
  EXPECT_TRUE(std::is_sorted(hits.begin(), hits.end()));
  const SearchView nothing{.field = field_, .index = nullptr, .live = {}, .fresh = {}};
  EXPECT_TRUE(SearchOk(searcher_, nothing, query, Probing(4, 50)).empty());
}

TEST_F(SearcherTest, HitsBeyondTheLargestDissimilarityAreLeftOut) {
  const std::vector<float> query = data_.DrawQuery();
  const std::vector<Hit> truth = index_.Nearest(query, 20);
  for (SearchRequest request : {Everything(20), Exact(20)}) {
    request.dissimilarity_max = truth[6].dissimilarity;
    ExpectSameHits(SearchOk(searcher_, index_.View(), query, request),
                   {truth.begin(), truth.begin() + 7});
    request.dissimilarity_max = -1.0F;
    EXPECT_TRUE(SearchOk(searcher_, index_.View(), query, request).empty());
  }
}

TEST_F(SearcherTest, EquallyDistantRowsComeBySmallestId) {
  std::vector<TestRow> rows = data_.DrawRows(600);
  for (size_t i = 0; i < rows.size(); ++i) rows[i].vector = rows[i % 6].vector;
  TestIndex index({.field = field_}, rows);
  for (const size_t number : {0U, 3U, 5U}) {
    const std::vector<float> query = ElementFloats(field_.type, rows[number].vector);
    for (const uint32_t limit : {1U, 10U, 130U}) {
      const std::vector<Hit> truth = index.Nearest(query, limit);
      ExpectSameHits(SearchOk(searcher_, index.View(), query, Everything(limit)), truth);
      ExpectSameHits(SearchOk(searcher_, index.View(), query, Exact(limit)), truth);
    }
  }
}

TEST_F(SearcherTest, ZeroVectorsScoreZeroUnderCosine) {
  const base::VectorFieldSchema field = Field(Metric::kCosine, ElementType::kF32);
  std::vector<TestRow> rows = data_.DrawRows(300);
  rows[17].vector.assign(rows[17].vector.size(), std::byte{0});
  TestIndex index({.field = field}, rows);
  const std::vector<float> query = data_.DrawQuery();
  const std::vector<float> zero(field.dim, 0.0F);
  for (const SearchRequest& request : {Everything(300), Exact(300)}) {
    const std::vector<Hit> hits = SearchOk(searcher_, index.View(), query, request);
    ASSERT_EQ(hits.size(), 300U);
    const auto of_zero = std::find_if(hits.begin(), hits.end(),
                                      [&](const Hit& hit) { return hit.row == rows[17].row; });
    ASSERT_NE(of_zero, hits.end());
    EXPECT_EQ(of_zero->dissimilarity, 0);
    const std::vector<Hit> to_zero = SearchOk(searcher_, index.View(), zero, request);
    ASSERT_EQ(to_zero.size(), 300U);
    EXPECT_EQ(to_zero.front().dissimilarity, 0);
    EXPECT_EQ(to_zero.back().dissimilarity, 0);
  }
}

TEST_F(SearcherTest, OneSearcherServesManyIndexes) {
  const base::VectorFieldSchema field = Field(Metric::kInnerProduct, ElementType::kU8, 24);
  ClusteredData data(TestSeed() + 1, field);
  std::vector<std::unique_ptr<TestIndex>> others;
  for (size_t i = 0; i < 6; ++i) {
    others.push_back(
        std::make_unique<TestIndex>(TestIndexOptions{.field = field}, data.DrawRows(200 + i)));
  }
  for (size_t round = 0; round < 2; ++round) {
    for (const auto& other : others) {
      const std::vector<float> query = data.DrawQuery();
      ExpectSameHits(SearchOk(searcher_, other->View(), query, Everything(10)),
                     other->Nearest(query, 10));
    }
    const std::vector<float> query = data_.DrawQuery();
    ExpectSameHits(SearchOk(searcher_, index_.View(), query, Everything(10)),
                   index_.Nearest(query, 10));
  }
}

TEST_F(SearcherTest, WrongRequestsAreRefused) {
  std::vector<float> query = data_.DrawQuery();
  EXPECT_THAT(SearchStatus(std::span(query).first(7), Probing(1, 1)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("7 components")));
  EXPECT_THAT(SearchStatus(query, Probing(1, 0)), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(SearchStatus(query, Probing(1, base::kLimitMax + 1)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("10001")));
  EXPECT_THAT(SearchStatus(query, Probing(0, 1)), StatusIs(absl::StatusCode::kInvalidArgument));
  SearchRequest request = Probing(1, 1);
  request.settings.eps = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(SearchStatus(query, request), StatusIs(absl::StatusCode::kInvalidArgument));
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    query[3] = bad;
    EXPECT_THAT(SearchStatus(query, Probing(1, 1)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("component 3")));
    EXPECT_THAT(SearchStatus(query, Exact(1)), StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

TEST_F(SearcherTest, EnormousQueriesStillGetAsManyRows) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    const base::VectorFieldSchema field = Field(metric, ElementType::kF32);
    TestIndex index({.field = field}, data_.DrawRows(500));
    std::vector<float> query = data_.DrawQuery();
    for (float& x : query) x = std::copysign(3e38F, x);
    for (const SearchRequest& request : {Probing(2, 10), Everything(10), Exact(10)}) {
      EXPECT_EQ(SearchOk(searcher_, index.View(), query, request).size(), 10U);
    }
  }
}

TEST_F(SearcherTest, CancelledAndLateSearchesEnd) {
  const std::vector<float> query = data_.DrawQuery();
  const std::atomic<bool> cancelled = true;
  for (SearchRequest request : {Probing(3, 10), Exact(10)}) {
    request.cancelled = &cancelled;
    EXPECT_THAT(SearchStatus(query, request), StatusIs(absl::StatusCode::kCancelled));
    request.cancelled = nullptr;
    request.deadline = base::Deadline::After(absl::ZeroDuration());
    EXPECT_THAT(SearchStatus(query, request), StatusIs(absl::StatusCode::kDeadlineExceeded));
    request.deadline = base::Deadline::After(absl::Hours(1));
    EXPECT_OK(SearchStatus(query, request));
  }
}

TEST_F(SearcherTest, CancellingDuringReadsEndsTheSearch) {
  TestIndex index({.field = field_}, data_.DrawRows(6000));
  const std::vector<float> query = data_.DrawQuery();
  for (SearchRequest request : {Everything(1000), Exact(10)}) {
    std::atomic<bool> cancelled = false;
    index.ResetCache(kTinyCache, [&](const storage::ReadRequest&, uint64_t) {
      cancelled = true;
      return storage::ReadFault{};
    });
    request.cancelled = &cancelled;
    std::vector<Hit> hits;
    SearchStats stats;
    EXPECT_THAT(searcher_.Search(index.View(), query, request, &hits, &stats),
                StatusIs(absl::StatusCode::kCancelled));
  }
}

TEST_F(SearcherTest, StatsCountTheWork) {
  std::vector<Hit> hits;
  SearchStats stats;
  const std::vector<float> query = data_.DrawQuery();
  ASSERT_OK(searcher_.Search(index_.View(), query, Everything(10), &hits, &stats));
  EXPECT_EQ(stats.lists_probed, index_.view().list_count());
  EXPECT_EQ(stats.codes_scanned, 2000U);
  EXPECT_GE(stats.survivors, stats.reranked);
  EXPECT_GE(stats.reranked, 10U);
  EXPECT_GT(stats.bytes_read, 0U);
  ASSERT_OK(searcher_.Search(index_.View(), query, Everything(10), &hits, &stats));
  EXPECT_EQ(stats.bytes_read, 0U);  // everything is in memory now
  ASSERT_OK(searcher_.Search(index_.View(), query, Exact(10), &hits, &stats));
  EXPECT_EQ(stats.reranked, 2000U);
}

}  // namespace
}  // namespace tessera::query
