#include "base/types.h"

#include "gtest/gtest.h"

#include "tests/support/status_matchers.h"

namespace tessera::base {
namespace {

TEST(Types, NamesReadBack) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    EXPECT_THAT(ParseMetric(ToString(metric)), IsOkAndHolds(metric));
  }
  for (const ElementType type :
       {ElementType::kF32, ElementType::kF16, ElementType::kI8, ElementType::kU8}) {
    EXPECT_THAT(ParseElementType(ToString(type)), IsOkAndHolds(type));
  }
}

TEST(Types, UnknownNamesAreRefusedWithTheList) {
  EXPECT_THAT(ParseMetric("euclid"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("l2, ip, cosine")));
  EXPECT_THAT(ParseMetric("L2"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ParseElementType(""),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("f32, f16, i8, u8")));
}

TEST(Types, NumbersOnDiskArePinned) {
  EXPECT_EQ(static_cast<int>(Metric::kL2), 1);
  EXPECT_EQ(static_cast<int>(Metric::kInnerProduct), 2);
  EXPECT_EQ(static_cast<int>(Metric::kCosine), 3);
  EXPECT_EQ(static_cast<int>(ElementType::kF32), 1);
  EXPECT_EQ(static_cast<int>(ElementType::kF16), 2);
  EXPECT_EQ(static_cast<int>(ElementType::kI8), 3);
  EXPECT_EQ(static_cast<int>(ElementType::kU8), 4);
  EXPECT_EQ(ElementBytes(ElementType::kF32), 4U);
  EXPECT_EQ(ElementBytes(ElementType::kF16), 2U);
  EXPECT_EQ(ElementBytes(ElementType::kI8), 1U);
  EXPECT_EQ(ElementBytes(ElementType::kU8), 1U);
}

}  // namespace
}  // namespace tessera::base
