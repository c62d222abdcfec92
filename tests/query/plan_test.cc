#include "query/plan.h"

#include <memory>
#include <utility>

#include "gtest/gtest.h"

namespace tessera::query {
namespace {

// A view of which only what a plan looks at is there.
SearchView ViewWith(Calibration calibration, uint32_t lists, uint64_t rows) {
  auto index = std::make_shared<IndexView>();
  index->calibration = std::move(calibration);
  index->part_begin.assign(lists + 1, 0);
  index->rows = rows;
  SearchView view;
  view.index = std::move(index);
  return view;
}

Calibration UpTo(float recall) {
  return Calibration(
      10'000, 100,
      {{.k = 10,
        .points = {{.recall = 0.5F, .nprobe = 2, .eps = 1, .rerank = 20},
                   {.recall = recall, .nprobe = 100, .eps = 4, .rerank = 1 << 24}}}});
}

TEST(Plan, WithoutAnIndexEveryRowIsCompared) {
  const SearchRequest request = Plan({.limit = 3}, SearchView{});
  EXPECT_EQ(request.limit, 3U);
  EXPECT_EQ(request.settings.recall, 1);
}

TEST(Plan, ATargetBecomesSettings) {
  const SearchView view = ViewWith(UpTo(0.99F), 100, 10'000);
  const SearchRequest low = Plan({.limit = 10, .recall_target = 0.6}, view);
  const SearchRequest high = Plan({.limit = 10, .recall_target = 0.95}, view);
  EXPECT_FALSE(low.exact);
  EXPECT_LT(low.settings.nprobe, high.settings.nprobe);
  EXPECT_GE(high.settings.recall, 0.949);
}

TEST(Plan, ATargetOutOfReachOfTheCodesComparesEveryRow) {
  Calibration low(10'000, 100,
                  {{.k = 10, .points = {{.recall = 0.2F, .nprobe = 100, .eps = 4, .rerank = 16}}}});
  const SearchView view = ViewWith(low, 100, 10'000);
  const float reach = low.ForTarget(0.9, 10).recall;
  const SearchRequest request = Plan({.limit = 10, .recall_target = 0.9}, view);
  EXPECT_EQ(request.exact, reach < 0.899F);
  EXPECT_TRUE(!request.exact || request.settings.recall == 1);
}

TEST(Plan, ListsAndOversamplingAreTakenAsTheyAre) {
  const SearchView view = ViewWith(UpTo(0.99F), 100, 10'000);
  SearchRequest request = Plan({.limit = 10, .nprobe = 7}, view);
  EXPECT_EQ(request.settings.nprobe, 7U);
  EXPECT_FALSE(request.exact);
  request = Plan({.limit = 10, .nprobe = 5000, .oversampling = 2.55}, view);
  EXPECT_EQ(request.settings.nprobe, 100U);
  EXPECT_EQ(request.settings.rerank, 26U);
  request = Plan({.limit = 10, .oversampling = 1e30}, view);
  EXPECT_EQ(request.settings.rerank, 10'000U);
}

TEST(Plan, ExactAndLimitsPassThrough) {
  const std::atomic<bool> cancelled{false};
  const base::Deadline deadline = base::Deadline::After(absl::Seconds(-1));
  const SearchRequest request = Plan({.limit = 4,
                                      .exact = true,
                                      .dissimilarity_max = -0.5F,
                                      .deadline = deadline,
                                      .cancelled = &cancelled},
                                     ViewWith(UpTo(0.99F), 100, 10));
  EXPECT_TRUE(request.exact);
  EXPECT_EQ(request.dissimilarity_max, -0.5F);
  EXPECT_EQ(request.deadline, deadline);
  EXPECT_EQ(request.cancelled, &cancelled);
}

}  // namespace
}  // namespace tessera::query
