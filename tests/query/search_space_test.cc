#include "query/search_space.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

#include "index/search_space.h"

namespace tessera::query {
namespace {

using base::Metric;

TEST(SearchSpace, OrdinaryQueriesStayAsTheyAre) {
  SearchSpace space;
  std::vector<float> out;
  const std::vector<float> query = {1, -2.5F, 0};
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct}) {
    space.Prepare(metric, 1, query, &out);
    EXPECT_EQ(out, query);
    EXPECT_EQ(space.Of(3.25F), 3.25F);
  }
  space.Prepare(Metric::kCosine, 1, query, &out);
  EXPECT_NEAR(std::hypot(out[0], out[1]), 1, 1e-6);
  EXPECT_EQ(space.Of(-1), 0);
  EXPECT_EQ(space.Of(1), 4);
}

TEST(SearchSpace, DissimilaritiesScaleWithTheVectors) {
  SearchSpace space;
  std::vector<float> out;
  space.Prepare(Metric::kL2, 0x1p40F, std::vector<float>{0x1p-70F}, &out);
  EXPECT_EQ(out[0], 0x1p-30F);
  EXPECT_EQ(space.Of(0x1p-139F), 0x1p-59F);
  EXPECT_EQ(space.Of(1e38F), std::numeric_limits<float>::max());
  EXPECT_EQ(space.Of(std::numeric_limits<float>::infinity()), std::numeric_limits<float>::max());
  // Under inner product the query has a unit of its own.
  space.Prepare(Metric::kInnerProduct, 0x1p40F, std::vector<float>{8}, &out);
  EXPECT_EQ(out[0], 8);
  EXPECT_EQ(space.Of(-0x1p-69F), -0x1p-29F);
  space.Prepare(Metric::kInnerProduct, 1, std::vector<float>{0x1p-70F}, &out);
  EXPECT_EQ(out[0], 0x1p-30F);
  EXPECT_EQ(space.Of(-0x1p-70F), -0x1p-30F);
}

TEST(SearchSpace, QueriesFarBeyondTheRowsAreShortened) {
  SearchSpace space;
  std::vector<float> out;
  space.Prepare(Metric::kL2, 0x1p60F, std::vector<float>{1e18F, -5e17F}, &out);
  EXPECT_LE(out[0], index::kSearchComponentMost);
  EXPECT_NEAR(out[1] / out[0], -0.5, 1e-6);
}

}  // namespace
}  // namespace tessera::query
