#include "bench/curve.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "bench/report/markdown.h"

namespace tessera::bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Result Point(const std::string& engine, const SearchPoint& params, double recall, double qps) {
  Result result;
  result.dataset = "set";
  result.engine = engine;
  result.params = params;
  result.cache = "warm";
  result.k = 10;
  result.recall = recall;
  result.qps_1 = qps;
  return result;
}

TEST(ParetoFront, KeepsWhatNoOtherPointBeats) {
  const auto front =
      ParetoFront({Point("e", {{"n", 1}}, 0.8, 900), Point("e", {{"n", 2}}, 0.9, 500),
                   Point("e", {{"n", 3}}, 0.85, 400),  // beaten by n=2
                   Point("e", {{"n", 4}}, 0.9, 450),   // beaten by n=2
                   Point("e", {{"n", 5}}, 0.99, 100)});
  ASSERT_EQ(front.size(), 3U);
  EXPECT_EQ(front[0].params.at("n"), 1);
  EXPECT_EQ(front[1].params.at("n"), 2);
  EXPECT_EQ(front[2].params.at("n"), 5);
}

TEST(QpsAtRecall, IsReadOffTheFront) {
  const std::vector<Result> front = {Point("e", {}, 0.9, 1000), Point("e", {}, 0.99, 100)};
  EXPECT_EQ(QpsAtRecall(front, 0.5), 1000);
  EXPECT_EQ(QpsAtRecall(front, 0.9), 1000);
  EXPECT_EQ(QpsAtRecall(front, 0.99), 100);
  EXPECT_EQ(QpsAtRecall(front, 0.995), std::nullopt);
  // Half of a tenfold drop of 1 - recall is half of the tenfold drop of QPS, on these scales.
  EXPECT_NEAR(*QpsAtRecall(front, 1 - 0.1 / std::sqrt(10.0)), 1000 / std::sqrt(10.0), 1e-6);
  EXPECT_EQ(QpsAtRecall({}, 0.9), std::nullopt);
}

TEST(QpsAtRecall, ReadsTheCurveOfTwoThreadsToo) {
  std::vector<Result> results = {Point("e", {{"n", 1}}, 0.9, 1000),
                                 Point("e", {{"n", 2}}, 0.99, 100)};
  EXPECT_THAT(ParetoFront(results, &Result::qps_2), ElementsAre());  // not measured
  results[0].qps_2 = 1900;
  results[1].qps_2 = 180;
  EXPECT_EQ(QpsAtRecall(ParetoFront(results, &Result::qps_2), 0.99, &Result::qps_2), 180);
}

TEST(DefaultsAgainstSweep, ComparesAtTheRecallOfTheDefaults) {
  const std::vector<Result> sweep = {Point("e", {{"n", 1}}, 0.9, 1000),
                                     Point("e", {{"n", 2}}, 0.95, 500),
                                     Point("e", {{"n", 3}}, 0.99, 100)};
  std::vector<Result> results = sweep;
  EXPECT_EQ(DefaultsAgainstSweep(results), std::nullopt);  // no defaults
  results.push_back(Point("e", {}, 0.95, 400));
  EXPECT_DOUBLE_EQ(*DefaultsAgainstSweep(results), 0.8);
  results.back().recall = 0.999;
  EXPECT_EQ(DefaultsAgainstSweep(results), std::nullopt);  // nothing to compare with
}

TEST(GroupResults, KeepsTheLastOfEachSetting) {
  Result cold = Point("a", {}, 0.9, 10);
  cold.cache = "cold";
  Result limited = Point("a", {}, 0.9, 20);
  limited.memory_limit = 1 << 30;
  const std::vector<ResultGroup> groups = GroupResults(
      {Point("a", {}, 0.9, 1), Point("b", {}, 0.9, 2), limited, cold, Point("a", {}, 0.9, 3)});
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_THAT(groups[0].engines, ElementsAre("a", "b"));
  EXPECT_EQ(groups[0].results.size(), 3U);
  EXPECT_EQ(groups[1].memory_limit, uint64_t{1} << 30);
  const std::vector<Result> warm = WarmResults(groups[0], "a");
  ASSERT_EQ(warm.size(), 1U);
  EXPECT_EQ(warm[0].qps_1, 3);
}

TEST(Markdown, ComparesWithTheBaselineOfTheSameGroup) {
  std::vector<Result> results = {
      Point("tessera", {}, 0.95, 4000), Point("tessera", {{"nprobe", 9}}, 0.95, 5000),
      Point("hnswlib", {{"ef", 9}}, 0.95, 500), Point("hnswlib", {{"ef", 8}}, 0.9, 900)};
  results[0].p50_us = 250;
  Result cold = results[0];
  cold.cache = "cold";
  cold.p50_us = 777;
  cold.open_seconds = 0.125;
  results.push_back(cold);
  const std::string table = RenderMarkdown(results);
  EXPECT_THAT(table, HasSubstr("| 5000 | - | 10.0 | 0.9500 | 4000 | 250 / 0 / 0 | 0.80 | 777 / 0 "
                               "| 0.125 |"));
  EXPECT_THAT(table, HasSubstr("| set | hnswlib |"));
  EXPECT_THAT(table, HasSubstr("| 500 | - | 1.0 | - | - | - | - | - | - |"));
}

}  // namespace
}  // namespace tessera::bench
