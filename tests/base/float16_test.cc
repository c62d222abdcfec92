#include "base/float16.h"

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "gtest/gtest.h"

#include "tests/support/seed.h"

namespace tessera::base {
namespace {

// The value of binary16 bits by definition; NaN and infinity left out.
double ByDefinition(uint16_t bits) {
  const int exponent = bits >> 10 & 0x1F;
  const int mantissa = bits & 0x3FF;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

TEST(Float16, EveryValueWidensExactlyAndComesBack) {
  for (uint32_t i = 0; i <= 0xFFFF; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    const float wide = F16ToF32(bits);
    if ((bits & 0x7FFF) > 0x7C00) {
      EXPECT_TRUE(std::isnan(wide));
      EXPECT_EQ(F32ToF16(wide), bits | 0x200) << "a NaN keeps its payload and becomes quiet";
      continue;
    }
    if ((bits & 0x7FFF) == 0x7C00) {
      EXPECT_EQ(wide, bits == 0x7C00 ? INFINITY : -INFINITY);
    } else {
      EXPECT_EQ(static_cast<double>(wide), ByDefinition(bits)) << bits;
      EXPECT_EQ(std::signbit(wide), (bits & 0x8000) != 0);
    }
    EXPECT_EQ(F32ToF16(wide), bits);
  }
}

TEST(Float16, MidpointsGoToEvenAndTheirNeighboursToTheNearer) {
  for (uint16_t low = 0; low < 0x7BFF; ++low) {
    const auto high = static_cast<uint16_t>(low + 1);
    // The mean of neighbours has one bit more: exact in binary32.
    const auto middle = static_cast<float>((ByDefinition(low) + ByDefinition(high)) / 2);
    const uint16_t even = (low & 1) == 0 ? low : high;
    ASSERT_EQ(F32ToF16(middle), even) << low;
    ASSERT_EQ(F32ToF16(std::nextafter(middle, 0.0F)), low);
    ASSERT_EQ(F32ToF16(std::nextafter(middle, INFINITY)), high);
    ASSERT_EQ(F32ToF16(-middle), even | 0x8000);
  }
}

TEST(Float16, EdgesOfTheRange) {
  EXPECT_EQ(F32ToF16(65504.0F), 0x7BFF);
  EXPECT_EQ(F32ToF16(std::nextafter(65520.0F, 0.0F)), 0x7BFF);
  EXPECT_EQ(F32ToF16(65520.0F), 0x7C00);
  EXPECT_EQ(F32ToF16(std::numeric_limits<float>::max()), 0x7C00);
  EXPECT_EQ(F32ToF16(-std::numeric_limits<float>::infinity()), 0xFC00);
  EXPECT_EQ(F32ToF16(0x1p-25F), 0) << "half of the least value is a tie";
  EXPECT_EQ(F32ToF16(std::nextafter(0x1p-25F, 1.0F)), 1);
  EXPECT_EQ(F32ToF16(std::numeric_limits<float>::denorm_min()), 0);
  EXPECT_EQ(F32ToF16(-0.0F), 0x8000);
  EXPECT_EQ(F32ToF16(std::bit_cast<float>(0x7F800001U)), 0x7E00) << "a NaN never becomes infinity";
}

TEST(Float16, RandomValuesRoundToTheNearest) {
  std::mt19937_64 rng(TestSeed());
  for (int i = 0; i < 100000; ++i) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(rng()));
    if (std::isnan(value) || std::fabs(value) >= 65504.0F) continue;
    const uint16_t bits = F32ToF16(value);
    const double error = std::fabs(ByDefinition(bits) - static_cast<double>(value));
    for (const int step : {-1, 1}) {
      const auto other = static_cast<uint16_t>(bits + step);
      if ((other & 0x7FFF) >= 0x7C00) continue;
      ASSERT_LE(error, std::fabs(ByDefinition(other) - static_cast<double>(value)));
    }
  }
}

}  // namespace
}  // namespace tessera::base
