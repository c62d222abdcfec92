#include "query/filter/parser.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/query/filter/oracle.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::query {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;

std::string Read(std::string_view expression, const FilterParameters& parameters = {}) {
  const auto filter = ParseFilter(expression, parameters);
  return filter.ok() ? ToString(*filter) : std::string(filter.status().message());
}

TEST(Parser, ReadsEveryForm) {
  EXPECT_EQ(Read("rank < 10000"), "rank < 10000");
  EXPECT_EQ(Read("x < 0.1 AND y < 0.5"), "(x < 0.1) AND (y < 0.5)");
  EXPECT_EQ(Read("\"noun\" in pos"), "pos = \"noun\"");
  EXPECT_EQ(Read("pos IN ('adj', \"adv\")"), "pos IN (\"adj\", \"adv\")");
  EXPECT_EQ(Read("NOT (depth >= 10)"), "NOT (depth >= 10)");
  EXPECT_EQ(Read("not a = 1 and b = 2 or c = 3"), "((NOT (a = 1)) AND (b = 2)) OR (c = 3)");
  EXPECT_EQ(Read("color != 'red'"), Read("color <> \"red\""));
  EXPECT_EQ(Read("a.b.`odd name` = -1"), "a.b.`odd name` = -1");
  EXPECT_EQ(Read("`and`.x = 1.5e3"), "`and`.x = 1500");
  EXPECT_EQ(Read("a LIKE '50\\%x%'"), "a LIKE \"50\\\\%x%\"");
  EXPECT_EQ(Read("5 <= a"), "a >= 5");
  EXPECT_EQ(Read("has_id(3, 'x', 3)"), "has_id(3, \"x\")");
  EXPECT_EQ(Read("at least 2 of (a=1, b=1, c=1)"), "AT LEAST 2 OF ((a = 1), (b = 1), (c = 1))");
  EXPECT_EQ(Read("at = 1 AND of = 2 AND any = 3"), "(at = 1) AND (of = 2) AND (any = 3)");
  EXPECT_EQ(Read("größe > 1"), "`größe` > 1");
}

TEST(Parser, BindsParameters) {
  const FilterParameters parameters = {
      {"max", base::Value(int64_t{5})},
      {"colors", base::Value(base::Value::List{base::Value(std::string("red' OR 1=1")),
                                               base::Value(std::string("blue"))})}};
  EXPECT_EQ(Read("price < $max AND color IN $colors", parameters),
            "(price < 5) AND (color IN (\"blue\", \"red' OR 1=1\"))");
  EXPECT_THAT(Read("price < $max", parameters), HasSubstr("$colors is given"));
  EXPECT_THAT(Read("price < $min"), HasSubstr("$min has no value"));
  EXPECT_THAT(Read("a IN $max AND b = $max AND c IN $colors", parameters),
              HasSubstr("$max must be a list"));
  EXPECT_THAT(Read("a = $colors AND b = $max", parameters), HasSubstr("must be a boolean"));
}

TEST(Parser, ErrorsPointAtThePosition) {
  EXPECT_THAT(Read(""), AllOf(HasSubstr("position 1, the end"), HasSubstr("expected a name")));
  EXPECT_THAT(Read("price <"), AllOf(HasSubstr("position 8"), HasSubstr("constant")));
  EXPECT_THAT(Read("price < 5 color = 1"),
              AllOf(HasSubstr("position 11, near `color = 1`"), HasSubstr("AND, OR or the end")));
  EXPECT_THAT(Read("(a = 1"), HasSubstr("expected \")\""));
  EXPECT_THAT(Read("a = red"), HasSubstr("texts are quoted"));
  EXPECT_THAT(Read("a = null"), HasSubstr("IS NULL"));
  EXPECT_THAT(Read("a = 'x"), HasSubstr("closing ' is missing"));
  EXPECT_THAT(Read("a LIKE '%x'"), HasSubstr("one % at its end"));
  EXPECT_THAT(Read("a LIKE 'x'"), HasSubstr("one % at its end"));
  EXPECT_THAT(Read("a = 9223372036854775808"), HasSubstr("-2^63 .. 2^63 - 1"));
  EXPECT_THAT(Read("a > datetime('2024-13-45')"), HasSubstr("RFC 3339"));
  EXPECT_THAT(Read("2nd = 1"), HasSubstr("quoted"));
  EXPECT_THAT(Read("a = 1 # b"), AllOf(HasSubstr("position 7"), HasSubstr("no meaning")));
  EXPECT_THAT(Read("geo_radius(at, 91, 0, 1)"), HasSubstr("a latitude is 91, must be -90 .. 90"));
  EXPECT_THAT(Read("a BETWEEN 1 AND 'x'"), HasSubstr("one type"));
  EXPECT_THAT(ParseFilter("a ="), StatusIs(StatusCode::kInvalidArgument));
}

TEST(Parser, BoundsDepthAndSize) {
  const auto nested = [](size_t depth) {
    std::string text(depth, '(');
    text += "a = 1";
    text.append(depth, ')');
    return text;
  };
  EXPECT_OK(ParseFilter(nested(kFilterDepthMax - 1)));
  EXPECT_THAT(Read(nested(kFilterDepthMax)), HasSubstr("nested deeper"));
  EXPECT_THAT(Read(nested(1'000'000)), HasSubstr("nested deeper"));
  std::string nots;
  for (int i = 0; i < 100'000; ++i) nots.append("NOT ");
  nots.append("a = 1");
  EXPECT_THAT(Read(nots), HasSubstr("nested deeper"));
  std::string many = "a = 1";
  for (size_t i = 1; i <= kFilterConditionsMax; ++i) many.append(" OR a = 1");
  EXPECT_THAT(Read(many), HasSubstr("at most 1024"));
  std::string in = "a IN (1";
  for (size_t i = 2; i <= kFilterConstantsMax + 1; ++i) absl::StrAppend(&in, ",", i);
  in.append(")");
  EXPECT_THAT(Read(in), HasSubstr("at most 100000"));
}

// Whatever the text, an answer; what is read prints as what reads back.
TEST(Parser, SurvivesDamagedExpressions) {
  FilterOracle oracle(TestSeed());
  std::mt19937_64 rng(TestSeed());
  for (int i = 0; i < 5000; ++i) {
    std::string text = oracle.Draw(i % 4).text;
    for (uint64_t edits = rng() % 4; edits > 0 && !text.empty(); --edits) {
      const size_t at = rng() % text.size();
      switch (rng() % 3) {
        case 0:
          text[at] = static_cast<char>(rng() % 256);
          break;
        case 1:
          text.erase(at, 1 + rng() % 5);
          break;
        default:
          text.resize(at);
      }
    }
    const auto filter = ParseFilter(text);
    if (!filter.ok()) {
      EXPECT_THAT(filter, StatusIs(StatusCode::kInvalidArgument)) << text;
      continue;
    }
    ASSERT_OK_AND_ASSIGN(const Filter read, ParseFilter(ToString(*filter)));
    EXPECT_EQ(read, *filter) << text;
  }
}

}  // namespace
}  // namespace tessera::query
