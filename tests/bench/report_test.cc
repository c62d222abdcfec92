#include "bench/report/report.h"

#include <cstdio>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "bench/report/svg_plot.h"

namespace tessera::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

Result Point(const std::string& engine, const SearchPoint& params, double recall, double qps) {
  Result result;
  result.dataset = "a<b>&\"set\"";
  result.engine = engine;
  result.params = params;
  result.cache = "warm";
  result.k = 10;
  result.recall = recall;
  result.qps_1 = qps;
  return result;
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Report, IsOneSelfContainedPage) {
  const std::string page =
      RenderReport({Point("one", {}, 0.9, 1000), Point("one", {{"n", 1}}, 0.95, 500),
                    Point("two", {{"n", 1}}, 0.97, 300)});
  EXPECT_THAT(page, HasSubstr("<!doctype html>"));
  EXPECT_THAT(page, HasSubstr("prefers-color-scheme: dark"));
  EXPECT_EQ(Count(page, "<svg"), 1U);
  EXPECT_EQ(Count(page, "<title>one, "), 2U);
  EXPECT_EQ(Count(page, "<title>two, "), 1U);
  EXPECT_EQ(Count(page, "class=\"ring\""), 1U);  // the defaults of the first
  for (const char* outside : {"http:", "https:", "src=", "href=", "@import", "url("}) {
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
  EXPECT_THAT(page, HasSubstr("a&lt;b&gt;&amp;&quot;set&quot;"));
  EXPECT_THAT(page, Not(HasSubstr("a<b>")));
  EXPECT_EQ(Count(page, "<section"), Count(page, "</section>"));
  EXPECT_EQ(Count(page, "<tr"), Count(page, "</tr>"));
  EXPECT_EQ(Count(page, "<g "), Count(page, "</g>"));
}

TEST(Report, DataSetsHaveSectionsAndTheLastMeasurementCounts) {
  Result other = Point("one", {}, 0.9, 1000);
  other.dataset = "other";
  Result cold = Point("one", {}, 0.9, 77);
  cold.cache = "cold";
  const std::string page =
      RenderReport({Point("one", {}, 0.9, 1111), other, Point("one", {}, 0.9, 2222), cold});
  EXPECT_EQ(Count(page, "<section"), 2U);
  EXPECT_THAT(page, Not(HasSubstr("1111")));
  EXPECT_THAT(page, HasSubstr("2222"));
  EXPECT_THAT(page, HasSubstr("<td>cold</td>"));
  EXPECT_EQ(Count(page, "77 queries"), 0U);  // cold passes are not drawn as points
}

TEST(RecallPlot, HigherRecallIsRightAndMoreQueriesAreUp) {
  EXPECT_LT(RecallScale(0.9), RecallScale(0.95));
  EXPECT_EQ(RecallScale(1), RecallScale(0.9999));
  const std::string svg =
      RecallPlot("t", {{"s", 0, {{0.5, 1000, "a"}, {1.0, 10, "b"}}}, {"none", 1, {}}});
  double x[2];
  double y[2];
  const size_t line = svg.find("class=\"line\" d=\"M");
  ASSERT_NE(line, std::string::npos);
  ASSERT_EQ(std::sscanf(svg.c_str() + line, "class=\"line\" d=\"M%lf %lfL%lf %lf", &x[0], &y[0],
                        &x[1], &y[1]),
            4);
  EXPECT_LT(x[0], x[1]);
  EXPECT_LT(y[0], y[1]);  // y grows downwards
  for (const double at : x) EXPECT_TRUE(at > 0 && at < 720);
  for (const double at : y) EXPECT_TRUE(at > 0 && at < 400);
  EXPECT_THAT(RecallPlot("empty", {}), HasSubstr("</svg>"));
}

}  // namespace
}  // namespace tessera::bench
