#include "api/formats/element_convert.h"

#include <cstring>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tessera::api {
namespace {

using base::ElementType;
using ::testing::HasSubstr;

std::string Floats(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

absl::StatusOr<std::vector<float>> Through(const std::vector<float>& values, ElementType to,
                                           Conversion conversion = Conversion::kExact) {
  std::string out = "kept";
  const absl::Status status =
      ConvertElements(Floats(values), ElementType::kF32, to, conversion, &out);
  EXPECT_EQ(out.substr(0, 4), "kept");
  if (!status.ok()) {
    EXPECT_EQ(out, "kept");
    return status;
  }
  return ToFloats(std::string_view(out).substr(4), to);
}

TEST(ElementConvert, EveryTypeGoesToF32AndBackExactly) {
  for (const ElementType type : {ElementType::kI8, ElementType::kU8, ElementType::kF16}) {
    std::string all;
    const int count = type == ElementType::kF16 ? 0x7C00 : 256;  // finite positive halves
    for (int i = 0; i < count; ++i) {
      all += static_cast<char>(i);
      if (type == ElementType::kF16) all += static_cast<char>(i >> 8);
    }
    std::string floats;
    ASSERT_TRUE(ConvertElements(all, type, ElementType::kF32, Conversion::kExact, &floats).ok());
    std::string back;
    ASSERT_TRUE(ConvertElements(floats, ElementType::kF32, type, Conversion::kExact, &back).ok());
    EXPECT_EQ(back, all);
  }
}

TEST(ElementConvert, WhatDoesNotFitExactlyIsRefusedByPositionAndValue) {
  const absl::Status status = Through({1, 2, 2.5F}, ElementType::kI8).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("element 2 is 2.5, which i8 cannot hold"));
  EXPECT_FALSE(Through({0.1F}, ElementType::kF16).ok());
  EXPECT_FALSE(Through({128}, ElementType::kI8).ok());
  EXPECT_FALSE(Through({-1}, ElementType::kU8).ok());
  EXPECT_TRUE(Through({-128, 127}, ElementType::kI8).ok());
  EXPECT_TRUE(Through({0, 255}, ElementType::kU8).ok());
}

TEST(ElementConvert, RoundingGoesToTheNearestAndStillKeepsTheRange) {
  EXPECT_THAT(*Through({2.5F, -0.6F, 126.7F}, ElementType::kI8, Conversion::kRound),
              testing::ElementsAre(2, -1, 127));
  EXPECT_THAT(*Through({0.1F}, ElementType::kF16, Conversion::kRound),
              testing::ElementsAre(0.0999755859375F));
  EXPECT_FALSE(Through({127.6F}, ElementType::kI8, Conversion::kRound).ok());
  EXPECT_FALSE(Through({1e6F}, ElementType::kF16, Conversion::kRound).ok());
  EXPECT_FALSE(
      Through({std::numeric_limits<float>::quiet_NaN()}, ElementType::kU8, Conversion::kRound)
          .ok());
}

TEST(ElementConvert, FindsTheFirstValueThatIsNotFinite) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(FirstNotFinite(Floats({1, 2}), ElementType::kF32), 2U);
  EXPECT_EQ(FirstNotFinite(Floats({1, -inf, inf}), ElementType::kF32), 1U);
  EXPECT_EQ(FirstNotFinite(std::string("\x00\x3C\x00\x7C", 4), ElementType::kF16), 1U);
  EXPECT_EQ(FirstNotFinite("\xff\xff", ElementType::kU8), 2U);
}

}  // namespace
}  // namespace tessera::api
