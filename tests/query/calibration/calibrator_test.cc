#include "query/calibration/calibrator.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "query/calibration/calibration_forecast.h"
#include "query/calibration/calibration_sample.h"
#include "query/searcher.h"
#include "tests/query/index_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::query {
namespace {

using base::ElementType;
using base::Metric;

base::VectorFieldSchema Field(Metric metric, ElementType type) {
  return {.name = "", .dim = 32, .metric = metric, .type = type};
}

double RecallOfTarget(const Calibration& calibration, const SearchView& view,
                      const TestIndex& index, double target, uint32_t k,
                      const std::vector<std::vector<float>>& queries) {
  Searcher searcher;
  SearchRequest request;
  request.limit = k;
  request.settings = calibration.ForTarget(target, k);
  double recall = 0;
  for (const std::vector<float>& query : queries) {
    std::vector<Hit> hits;
    SearchStats stats;
    EXPECT_OK(searcher.Search(view, query, request, &hits, &stats));
    EXPECT_EQ(hits.size(), k);
    recall += RecallOf(hits, index.Nearest(query, k));
  }
  return recall / static_cast<double>(queries.size());
}

class CalibratorOfEveryField : public testing::TestWithParam<std::tuple<Metric, ElementType>> {};

TEST_P(CalibratorOfEveryField, TargetsAreReachedOnUnseenQueries) {
  const base::VectorFieldSchema field = Field(std::get<0>(GetParam()), std::get<1>(GetParam()));
  ClusteredData data(TestSeed(), field, 200);
  const TestIndex index({.field = field, .list_rows = 32}, data.DrawRows(6000));
  const SearchView view = index.View();
  const absl::StatusOr<Calibration> calibration = Calibrate(view, {.queries_max = 300});
  ASSERT_OK(calibration);
  EXPECT_EQ(calibration->rows(), 6000U);
  EXPECT_EQ(calibration->lists(), index.view().list_count());
  ASSERT_EQ(calibration->curves().size(), 2U);

  std::vector<std::vector<float>> queries;
  for (size_t i = 0; i < 200; ++i) queries.push_back(data.DrawQuery());
  // The mean of 200 queries is off by less than a hundredth, nearly always.
  for (const double target : {0.8, 0.9, 0.95, 0.99}) {
    EXPECT_GE(RecallOfTarget(*calibration, view, index, target, 10, queries), target - 0.015)
        << target;
  }
  queries.resize(60);
  EXPECT_GE(RecallOfTarget(*calibration, view, index, 0.95, 1, queries), 0.9);
  EXPECT_GE(RecallOfTarget(*calibration, view, index, 0.95, 100, queries), 0.93);
}

INSTANTIATE_TEST_SUITE_P(All, CalibratorOfEveryField,
                         testing::Combine(testing::Values(Metric::kL2, Metric::kInnerProduct,
                                                          Metric::kCosine),
                                          testing::Values(ElementType::kF32, ElementType::kU8)),
                         [](const auto& test) {
                           return absl::StrCat(
                               std::string(base::ToString(std::get<0>(test.param))), "_",
                               std::string(base::ToString(std::get<1>(test.param))));
                         });

class CalibratorTest : public testing::Test {
 protected:
  CalibratorTest()
      : field_(Field(Metric::kL2, ElementType::kF32)),
        data_(TestSeed(), field_),
        index_({.field = field_}, data_.DrawRows(2500)) {}

  base::VectorFieldSchema field_;
  ClusteredData data_;
  TestIndex index_;
};

TEST_F(CalibratorTest, EasyDataNeedsFewLists) {
  // Every cluster is far from the others and about as large as a list.
  const base::VectorFieldSchema field = Field(Metric::kL2, ElementType::kF32);
  ClusteredData data(TestSeed(), field, 40);
  const TestIndex index({.field = field}, data.DrawRows(2560));
  const absl::StatusOr<Calibration> calibration = Calibrate(index.View(), {});
  ASSERT_OK(calibration);
  EXPECT_LE(calibration->ForTarget(0.95, 10).nprobe, 10U);
}

TEST_F(CalibratorTest, SameSeedGivesTheSameCalibrationOnAnyNumberOfThreads) {
  const SearchView view = index_.View();
  const auto with = [&](uint64_t seed, uint32_t threads) {
    absl::StatusOr<Calibration> calibration =
        Calibrate(view, {.queries_max = 100, .thread_count = threads, .seed = seed});
    EXPECT_OK(calibration);
    return calibration->Serialize();
  };
  const std::string first = with(5, 1);
  EXPECT_EQ(with(5, 1), first);
  EXPECT_EQ(with(5, 3), first);
}

TEST_F(CalibratorTest, WorksWithoutRoomInMemory) {
  const absl::StatusOr<Calibration> with_room = Calibrate(index_.View(), {.queries_max = 100});
  ASSERT_OK(with_room);
  index_.ResetCache(storage::PageCache::kCapacityMin);
  const absl::StatusOr<Calibration> without = Calibrate(index_.View(), {.queries_max = 100});
  ASSERT_OK(without);
  std::vector<std::vector<float>> queries;
  for (size_t i = 0; i < 50; ++i) queries.push_back(data_.DrawQuery());
  EXPECT_GE(RecallOfTarget(*without, index_.View(), index_, 0.9, 10, queries), 0.87);
}

TEST_F(CalibratorTest, DeadRowsDoNotCount) {
  std::vector<size_t> numbers;
  for (size_t i = 0; i < 2500; ++i) {
    if (i % 25 != 0) numbers.push_back(i);
  }
  index_.Kill(numbers);
  const absl::StatusOr<Calibration> calibration = Calibrate(index_.View(), {.queries_max = 80});
  ASSERT_OK(calibration);
  std::vector<std::vector<float>> queries;
  for (size_t i = 0; i < 50; ++i) queries.push_back(data_.DrawQuery());
  EXPECT_GE(RecallOfTarget(*calibration, index_.View(), index_, 0.9, 10, queries), 0.85);
}

TEST_F(CalibratorTest, NothingToMeasureGivesTheDefault) {
  const SearchView nothing{.field = field_, .index = nullptr, .live = {}, .fresh = {}};
  absl::StatusOr<Calibration> calibration = Calibrate(nothing, {});
  ASSERT_OK(calibration);
  EXPECT_EQ(*calibration, Calibration::Default(1));

  std::vector<size_t> numbers(2500);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = i;
  index_.Kill(numbers);
  calibration = Calibrate(index_.View(), {});
  ASSERT_OK(calibration);
  EXPECT_EQ(*calibration, Calibration::Default(index_.view().list_count()));
}

TEST_F(CalibratorTest, FewAndEqualRowsAreNoTrouble) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    for (const size_t count : {1U, 2U, 3U, 12U, 300U}) {
      const base::VectorFieldSchema field = Field(metric, ElementType::kF32);
      std::vector<TestRow> rows = data_.DrawRows(count);
      if (count == 300) {
        for (TestRow& row : rows) row.vector = rows[0].vector;
      }
      const TestIndex index({.field = field}, rows);
      const absl::StatusOr<Calibration> calibration = Calibrate(index.View(), {});
      ASSERT_OK(calibration);
      const ProbeSettings settings = calibration->ForTarget(0.95, 10);
      EXPECT_GE(settings.nprobe, 1U);
      EXPECT_LE(settings.nprobe, index.view().list_count());
    }
  }
}

TEST_F(CalibratorTest, CancellationAndDamageAreAnswered) {
  const std::atomic<bool> cancelled = true;
  EXPECT_THAT(Calibrate(index_.View(), {.cancelled = &cancelled}),
              StatusIs(absl::StatusCode::kCancelled));
  for (const uint64_t damaged : {0U, 20U, 40U}) {
    index_.ResetCache(storage::PageCache::kCapacityMin,
                      [&](const storage::ReadRequest&, uint64_t ordinal) {
                        storage::ReadFault fault;
                        if (ordinal == damaged) fault.short_bytes = 0;
                        return fault;
                      });
    EXPECT_THAT(Calibrate(index_.View(), {}), StatusIs(absl::StatusCode::kDataLoss));
  }
}

// ---- what calibrations are made from ----

class CalibrationSampleTest : public testing::TestWithParam<Metric> {
 protected:
  CalibrationSampleTest()
      : field_(Field(GetParam(), ElementType::kF16)),
        data_(TestSeed(), field_),
        index_({.field = field_, .parts_per_list = 2}, data_.DrawRows(1500)) {
    std::vector<size_t> numbers;
    for (size_t i = 0; i < 1500; i += 3) numbers.push_back(i);
    index_.Kill(numbers);
  }

  base::VectorFieldSchema field_;
  ClusteredData data_;
  TestIndex index_;
  SearchRequest request_;
};

TEST_P(CalibrationSampleTest, QueriesAreLiveRowsOrSumsOfTwo) {
  std::vector<CalibrationQuery> queries;
  ASSERT_OK(DrawQueries(index_.View(), request_, 200, 1, &queries));
  ASSERT_EQ(queries.size(), 200U);
  std::set<base::RowId> sources;
  for (const CalibrationQuery& query : queries) {
    std::vector<float> sum(field_.dim);
    const bool single = query.sources[0] == query.sources[1];
    EXPECT_EQ(single, GetParam() != Metric::kInnerProduct);
    for (size_t s = 0; s < (single ? 1U : 2U); ++s) {
      const size_t number = query.sources[s].value - 1;
      EXPECT_FALSE(index_.dead(number));
      EXPECT_TRUE(sources.insert(query.sources[s]).second);
      const auto row = ElementFloats(field_.type, index_.rows()[number].vector);
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += row[i];
    }
    EXPECT_EQ(query.vector, sum);
  }
  ASSERT_OK(DrawQueries(index_.View(), request_, 5000, 1, &queries));
  EXPECT_GE(queries.size(), 490U);
}

TEST_P(CalibrationSampleTest, NeighboursAreTheNearestOtherLiveRows) {
  std::vector<CalibrationQuery> queries;
  ASSERT_OK(DrawQueries(index_.View(), request_, 30, 2, &queries));
  ASSERT_OK(FindNeighbours(index_.View(), request_, 25, 3, queries));
  for (const CalibrationQuery& query : queries) {
    std::vector<Hit> truth = index_.Nearest(query.vector, 27);
    std::erase_if(truth, [&](const Hit& hit) { return query.MadeOf(hit.row); });
    ASSERT_EQ(query.neighbours.size(), 25U);
    for (size_t i = 0; i < 25; ++i) {
      EXPECT_EQ(query.neighbours[i].dissimilarity, truth[i].dissimilarity) << i;
    }
  }
}

TEST_P(CalibrationSampleTest, ForecastsGrowToOneWithEverySetting) {
  const SearchView view = index_.View();
  std::vector<CalibrationQuery> queries;
  ASSERT_OK(DrawQueries(view, request_, 60, 3, &queries));
  ASSERT_OK(FindNeighbours(view, request_, 40, 1, queries));
  const std::vector<float> grid = {0.5F, 1.0F, 2.0F, 8.0F};
  const absl::StatusOr<Forecast> forecast =
      Forecast::Make(view, request_, queries, 10, 40, grid, 2);
  ASSERT_OK(forecast);
  const uint32_t lists = index_.view().list_count();
  const uint32_t all = 40;
  EXPECT_EQ(forecast->Recall(lists, 3, all).mean, 1);
  EXPECT_EQ(forecast->Recall(lists, 3, all).error, 0);
  EXPECT_EQ(forecast->Recall(0, 3, all).mean, 0);
  double last = 0;
  for (uint32_t nprobe = 1; nprobe <= lists; ++nprobe) {
    const double recall = forecast->Recall(nprobe, 3, all).mean;
    EXPECT_GE(recall, last);
    last = recall;
  }
  EXPECT_LE(forecast->Recall(lists, 0, all).mean, forecast->Recall(lists, 2, all).mean);
  EXPECT_LE(forecast->Recall(lists, 3, 10).mean, forecast->Recall(lists, 3, 20).mean);
  EXPECT_GT(forecast->Recall(lists, 3, 10).mean, 0.8);
}

INSTANTIATE_TEST_SUITE_P(All, CalibrationSampleTest,
                         testing::Values(Metric::kL2, Metric::kInnerProduct, Metric::kCosine),
                         [](const auto& test) { return std::string(base::ToString(test.param)); });

TEST(MeanRecall, KnowsItsError) {
  const std::vector<double> recalls = {1, 0.5, 1, 0.5};
  EXPECT_DOUBLE_EQ(MeanRecall::Of(recalls).mean, 0.75);
  EXPECT_DOUBLE_EQ(MeanRecall::Of(recalls).error, 0.125);
}

}  // namespace
}  // namespace tessera::query
