#include "query/filter/normalize.h"

#include <string>

#include "gtest/gtest.h"

#include "query/filter/parser.h"
#include "tests/query/filter/oracle.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::query {
namespace {

std::string Normal(std::string_view expression) {
  const auto filter = ParseFilter(expression);
  EXPECT_OK(filter) << expression;
  return ToString(Normalize(*filter));
}

TEST(Normalize, FiltersThatMeanTheSameAreEqual) {
  EXPECT_EQ(Normal("a = 1 AND b = 2"), Normal("b == 2.0 and (a = 1 AND a = 1)"));
  EXPECT_EQ(Normal("a = 1 OR a IN (2, 3)"), "a IN (1, 2, 3)");
  EXPECT_EQ(Normal("NOT (a = 1 OR b < 2)"), Normal("a != 1 AND NOT b < 2"));
  EXPECT_EQ(Normal("NOT NOT a = 1"), "a = 1");
  EXPECT_EQ(Normal("'x' IN a AND a CONTAINS 'y'"), Normal("a CONTAINS ALL ('y', 'x')"));
  EXPECT_EQ(Normal("AT LEAST 2 OF (a = 1, TRUE, b = 2)"), Normal("a = 1 OR b = 2"));
  EXPECT_EQ(Normal("NOT AT LEAST 2 OF (a = 1, b = 2, c = 3)"),
            Normal("AT LEAST 2 OF (c != 3, a != 1, b != 2)"));
}

TEST(Normalize, FoldsContradictionsAndTautologies) {
  EXPECT_EQ(Normal("a = 1 AND a != 1"), "FALSE");
  EXPECT_EQ(Normal("a = 1 OR a != 1"), "TRUE");
  EXPECT_EQ(Normal("a IN () OR b = 1"), "b = 1");
  EXPECT_EQ(Normal("a NOT IN () AND b = 1"), "b = 1");
  EXPECT_EQ(Normal("has_id()"), "FALSE");
  EXPECT_EQ(Normal("AT LEAST 3 OF (a = 1, b = 1)"), "FALSE");
  EXPECT_EQ(Normal("AT LEAST 0 OF (a = 1)"), "TRUE");
  // No contradiction: a list may have both values.
  EXPECT_NE(Normal("a = 1 AND a = 2"), "FALSE");
  EXPECT_NE(Normal("a < 1 AND a > 2"), "FALSE");
}

TEST(Normalize, IsItsOwnNormalFormAndReadsBack) {
  FilterOracle oracle(TestSeed());
  for (int i = 0; i < 2000; ++i) {
    const std::string drawn = oracle.Draw(i % 6).text;
    ASSERT_OK_AND_ASSIGN(const Filter filter, ParseFilter(drawn));
    const Filter normal = Normalize(filter);
    EXPECT_EQ(ToString(Normalize(normal)), ToString(normal)) << drawn;
    ASSERT_OK_AND_ASSIGN(const Filter read, ParseFilter(ToString(normal)));
    EXPECT_EQ(ToString(read), ToString(normal)) << drawn;
  }
}

}  // namespace
}  // namespace tessera::query
