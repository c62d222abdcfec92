#include "index/search_space.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace tessera::index {
namespace {

TEST(SearchSpace, OrdinaryComponentsKeepTheirUnit) {
  for (const float largest : {1e-9F, 1e-3F, 1.0F, 255.0F, 65504.0F, 1e9F}) {
    EXPECT_EQ(UnitFor(base::Metric::kL2, std::vector<float>{0, -largest, largest / 3}), 1.0F);
  }
  EXPECT_EQ(UnitFor(base::Metric::kL2, std::vector<float>{0, 0}), 1.0F);
  EXPECT_EQ(UnitFor(base::Metric::kCosine, std::vector<float>{1e-30F}), 1.0F);
}

TEST(SearchSpace, TinyAndEnormousOnesComeToTheEndOfTheRange) {
  for (const float largest : {1e-45F, 1e-38F, 1e-21F, 1e-10F, 1e10F, 1e18F, 3e38F}) {
    const float unit = UnitFor(base::Metric::kInnerProduct, std::vector<float>{largest, 0});
    EXPECT_TRUE(IsUnit(unit)) << largest;
    const float scaled = largest * unit;
    EXPECT_GE(scaled, 0x1p-30F);
    EXPECT_LT(scaled, 0x1p31F);
    EXPECT_EQ(scaled / unit, largest) << "powers of two round nothing";
  }
}

TEST(SearchSpace, OnlyPowersOfTwoAreUnits) {
  EXPECT_TRUE(IsUnit(1));
  EXPECT_TRUE(IsUnit(0x1p-126F));
  for (const float other : {0.0F, -1.0F, 3.0F, 1e-45F, std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_FALSE(IsUnit(other)) << other;
  }
}

TEST(SearchSpace, WhatIsTooLargeIsCut) {
  std::vector<float> components = {1, -3, 1e38F, -1e38F};
  ApplyUnit(0x1p40F, components);
  EXPECT_EQ(components, (std::vector<float>{0x1p40F, -3 * 0x1p40F, kSearchComponentMost,
                                            -kSearchComponentMost}));
}

}  // namespace
}  // namespace tessera::index
