// Trees as expressions: the same meaning, and errors by the name of the field.
#include "api/filters/filter_tree.h"

#include <limits>
#include <string>

#include <google/protobuf/text_format.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "api/filters/convert_explain.h"
#include "api/filters/filter_path.h"
#include "base/status_details.h"
#include "query/filter/normalize.h"
#include "query/filter/parser.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using ::testing::HasSubstr;

static_assert(kFilterDepthMax == query::kFilterDepthMax);
static_assert(kFilterConditionsMax == query::kFilterConditionsMax);
static_assert(kFilterConstantsMax == query::kFilterConstantsMax);
static_assert(kFilterBytesMax == query::kFilterBytesMax);
static_assert(kFilterPathDepthMax == query::kFilterPathDepthMax);

v1::Filter Tree(const std::string& text) {
  v1::Filter filter;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, filter.mutable_tree())) << text;
  return filter;
}

std::string NormalText(std::string_view expression, const query::FilterParameters& parameters) {
  const absl::StatusOr<query::Filter> parsed = query::ParseFilter(expression, parameters);
  EXPECT_TRUE(parsed.ok()) << parsed.status() << " of " << expression;
  return parsed.ok() ? query::ToString(query::Normalize(*parsed)) : "";
}

// That the tree means what the expression does.
void ExpectSame(const std::string& tree, std::string_view expression) {
  const absl::StatusOr<db::FilterText> text = FilterFromProto(Tree(tree), "filter");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(NormalText(text->expression, text->parameters), NormalText(expression, {}))
      << text->expression;
}

void ExpectRefused(const v1::Filter& filter, const std::string& field, const std::string& message) {
  const absl::Status status = FilterFromProto(filter, "filter").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(base::BlamedField(status).value_or(""), field) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  EXPECT_THAT(std::string(status.message()), testing::StartsWith(field + ": "));
}

TEST(FilterTree, EveryConditionMeansWhatItsExpressionDoes) {
  ExpectSame(R"(must { path: "a" eq { integer: 3 } })", "a = 3");
  ExpectSame(R"(must { path: "a.b c.in" eq { text: "it's \"x\"\\" } })",
             R"(a.`b c`.`in` = "it's \"x\"\\")");
  ExpectSame(R"(must { path: "`a.b`.c" eq { boolean: true } })", "`a.b`.c = true");
  ExpectSame(R"(must { path: "a" in { values { integer: 1 } values { text: "x" } } })",
             "a IN (1, 'x')");
  ExpectSame(R"(must { path: "a" in {} })", "a IN ()");
  ExpectSame(R"(must { path: "a" in { values { datetime: "2024-01-31" } values { integer: 2 } } })",
             "a IN (datetime('2024-01-31'), 2)");
  ExpectSame(R"(must { path: "a" any_of { values { integer: 1 } values { integer: 2 } } })",
             "a CONTAINS ANY (1, 2)");
  ExpectSame(R"(must { path: "a" all_of { values { integer: 1 } values { integer: 2 } } })",
             "a CONTAINS ALL (1, 2)");
  ExpectSame(R"(must { path: "a" none_of { values { integer: 1 } values { integer: 2 } } })",
             "a CONTAINS NONE (1, 2)");
  ExpectSame(R"(must { path: "a" range { gt { integer: 1 } } })", "a > 1");
  ExpectSame(R"(must { path: "a" range { gte { number: 1.5 } } })", "a >= 1.5");
  ExpectSame(R"(must { path: "a" range { lt { text: "m" } } })", "a < 'm'");
  ExpectSame(R"(must { path: "a" range { lte { integer: 1 } } })", "a <= 1");
  ExpectSame(R"(must { path: "a" range { gt { integer: 1 } lte { number: 2.5 } } })",
             "a BETWEEN > 1 AND 2.5");
  ExpectSame(R"(must { path: "t" range { gte { datetime: "2024-01-31T12:00:00Z" }
                                         lt { datetime: "2024-02-01 00:00:00+01:00" } } })",
             "t BETWEEN datetime('2024-01-31T12:00:00Z') AND < "
             "datetime('2024-02-01T00:00:00+01:00')");
  ExpectSame(R"(must { path: "a" exists: true })", "EXISTS(a)");
  ExpectSame(R"(must { path: "a" exists: false })", "NOT EXISTS(a)");
  ExpectSame(R"(must { path: "a" is_null: true })", "a IS NULL");
  ExpectSame(R"(must { path: "a" is_null: false })", "a IS NOT NULL");
  ExpectSame(R"(must { path: "a" prefix: "50%\\" })", R"(a LIKE "50\\%\\\\%")");
  ExpectSame(R"(must { path: "a" prefix: "" })", "a LIKE '%'");
  ExpectSame(R"(must { path: "a" geo_box { top_lat: 53 left_lon: 179 bottom_lat: -2.5
                                           right_lon: -179 } })",
             "geo_box(a, 53, 179, -2.5, -179)");
  ExpectSame(R"(must { path: "a" geo_radius { lat: 52.5 lon: 13.4 meters: 1e4 } })",
             "geo_radius(a, 52.5, 13.4, 10000)");
  ExpectSame(R"(must { has_id { ids { num: 18446744073709551615 } ids { num: 3 }
                                ids { str: "doc-7" } } })",
             "has_id('18446744073709551615', 3, 'doc-7')");
  ExpectSame(R"(must { has_id {} })", "FALSE");
}

TEST(FilterTree, PartsAreJoinedAsTheirNamesSay) {
  const std::string a = R"({ path: "a" eq { integer: 1 } })";
  const std::string b = R"({ path: "b" eq { integer: 2 } })";
  const std::string c = R"({ path: "c" eq { integer: 3 } })";
  ExpectSame("must " + a + " must " + b, "a = 1 AND b = 2");
  ExpectSame("should " + a + " should " + b, "a = 1 OR b = 2");
  ExpectSame("must_not " + a + " must_not " + b, "NOT (a = 1 OR b = 2)");
  ExpectSame("must " + a + " should " + b + " should " + c, "a = 1 AND (b = 2 OR c = 3)");
  ExpectSame("should " + a + " should " + b + " should " + c + " min_should: 2",
             "AT LEAST 2 OF (a = 1, b = 2, c = 3)");
  ExpectSame("should { filter { must " + a + " must " + b + " } } should " + c,
             "(a = 1 AND b = 2) OR c = 3");
  ExpectSame("must_not { filter { should " + a + " must_not " + b + " } }",
             "NOT (a = 1 AND NOT b = 2)");
}

TEST(FilterTree, ErrorsNameTheField) {
  ExpectRefused(v1::Filter(), "filter", "neither a tree nor an expression");
  ExpectRefused(Tree(""), "filter.tree", "has no condition");
  const auto second = [](const std::string& condition) {
    return Tree(R"(must { path: "a" exists: true } must { )" + condition + " }");
  };
  const std::string at = "filter.tree.must[1]";
  ExpectRefused(second(R"(path: "a")"), at, "has no test");
  ExpectRefused(second(R"(eq { integer: 1 })"), at + ".path", "is empty");
  ExpectRefused(second(R"(path: "a..b" eq { integer: 1 })"), at + ".path", "empty name");
  ExpectRefused(second(R"(path: "`a" eq { integer: 1 })"), at + ".path", "closing backquote");
  ExpectRefused(second(R"(path: "`a`b" eq { integer: 1 })"), at + ".path", "must be '.'");
  ExpectRefused(second(R"(path: "a" eq {})"), at + ".eq", "has no value");
  ExpectRefused(second(R"(path: "a" eq { list {} })"), at + ".eq", "is a list");
  ExpectRefused(second(R"(path: "a" eq { number: nan })"), at + ".eq", "finite");
  ExpectRefused(second(R"(path: "a" eq { datetime: "2024-13-45" })"), at + ".eq", "RFC 3339");
  ExpectRefused(second(R"(path: "a" range {})"), at + ".range", "no bound");
  ExpectRefused(second(R"(path: "a" range { gt { integer: 1 } gte { integer: 1 } })"),
                at + ".range", "both gt and gte");
  ExpectRefused(second(R"(path: "a" range { gt { integer: 1 } lt { text: "b" } })"), at + ".range",
                "two types");
  ExpectRefused(second(R"(path: "a" range { lt { number: inf } })"), at + ".range.lt", "finite");
  ExpectRefused(second(R"(path: "a" geo_radius { lat: 91 })"), at + ".geo_radius.lat", "is 91");
  ExpectRefused(second(R"(path: "a" geo_radius { meters: -1 })"), at + ".geo_radius.meters", "-1");
  ExpectRefused(second(R"(path: "a" geo_box { bottom_lat: 3 })"), at + ".geo_box.bottom_lat",
                "at most top_lat");
  ExpectRefused(second(R"(path: "a" has_id {})"), at + ".path", "beside has_id");
  ExpectRefused(second(R"(has_id { ids { str: "7" } })"), at + ".has_id.ids[0]", "7");
  ExpectRefused(second(R"(filter {})"), at + ".filter", "has no condition");
  ExpectRefused(second(R"(filter { should { path: "a" in { values {} } } })"),
                at + ".filter.should[0].in.values[0]", "has no value");
  ExpectRefused(Tree(R"(should { path: "a" exists: true } min_should: 2)"),
                "filter.tree.min_should", "is 2, of 1");
  v1::Filter both = Tree(R"(must { path: "a" exists: true })");
  (*both.mutable_parameters())["x"].set_integer(1);
  ExpectRefused(both, "filter.parameters", "beside a tree");
}

v1::Filter Nested(size_t levels, const std::string& innermost) {
  v1::Filter filter;
  v1::FilterTree* tree = filter.mutable_tree();
  for (size_t i = 1; i < levels; ++i) tree = tree->add_must()->mutable_filter();
  EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(innermost, tree));
  return filter;
}

TEST(FilterTree, LevelsAreCountedAsTheParserDoes) {
  const std::string one = R"(must { path: "a" eq { integer: 1 } })";
  const std::string negated = R"(must_not { path: "a" eq { integer: 1 } })";
  const std::string either = R"(should { path: "a" eq { integer: 1 } } should { has_id {} })";
  const std::string none = R"(must { path: "a" none_of {} })";
  for (const auto& [innermost, levels] : std::vector<std::pair<std::string, size_t>>{
           {one, 32}, {one + one, 31}, {negated, 31}, {either, 31}, {none, 31}}) {
    const absl::StatusOr<db::FilterText> text =
        FilterFromProto(Nested(levels, innermost), "filter");
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_TRUE(query::ParseFilter(text->expression, text->parameters).ok()) << text->expression;
    const absl::Status deeper = FilterFromProto(Nested(levels + 1, innermost), "filter").status();
    EXPECT_THAT(std::string(deeper.message()), HasSubstr("deeper than 32 levels"));
    EXPECT_TRUE(base::BlamedField(deeper).has_value());
  }
}

TEST(FilterTree, ManyConditionsAndConstantsAreRefusedByNumber) {
  v1::Filter filter;
  for (size_t i = 0; i < kFilterConditionsMax; ++i) {
    v1::Condition* condition = filter.mutable_tree()->add_should();
    condition->set_path("a");
    condition->mutable_eq()->set_integer(static_cast<int64_t>(i));
  }
  const absl::StatusOr<db::FilterText> most = FilterFromProto(filter, "filter");
  ASSERT_TRUE(most.ok()) << most.status();
  EXPECT_TRUE(query::ParseFilter(most->expression, most->parameters).ok());
  *filter.mutable_tree()->add_must_not() = filter.tree().should(0);
  ExpectRefused(filter, "filter.tree.must_not[0]", "at most 1024");

  v1::Filter list;
  v1::Condition* condition = list.mutable_tree()->add_must();
  condition->set_path("a");
  for (size_t i = 0; i <= kFilterConstantsMax; ++i) {
    condition->mutable_in()->add_values()->set_integer(static_cast<int64_t>(i));
  }
  ExpectRefused(list, "filter.tree.must[0].in", "has 100001 constants, at most 100000");
  EXPECT_GT(FilterMemoryBytes(list), kFilterConstantsMax * sizeof(base::Value));
}

TEST(FilterExpression, IsTakenAsItIs) {
  v1::Filter filter;
  filter.set_expression("a < $max AND b IN $list");
  filter.set_strict(true);
  (*filter.mutable_parameters())["max"].set_number(2.5);
  (*filter.mutable_parameters())["list"].mutable_list()->add_values()->set_text("x");
  const absl::StatusOr<db::FilterText> text = FilterFromProto(filter, "filter");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->expression, filter.expression());
  EXPECT_TRUE(text->strict);
  EXPECT_EQ(text->parameters.at("max"), base::Value(2.5));
  v1::Filter back;
  ToProto(*text, &back);
  EXPECT_EQ(back.SerializeAsString().size(), filter.SerializeAsString().size());
  EXPECT_EQ(FilterFromProto(back, "filter")->parameters, text->parameters);
}

TEST(FilterExpression, EmptyLongAndOddOnesAreRefused) {
  v1::Filter filter;
  filter.set_expression("");
  ExpectRefused(filter, "filter.expression", "is empty; leave the filter out");
  filter.set_expression(" \t\n");
  ExpectRefused(filter, "filter.expression", "is empty");
  filter.set_expression(std::string(kFilterBytesMax + 1, 'a'));
  ExpectRefused(filter, "filter.expression", "has 4194305 bytes, at most 4194304");
  filter.set_expression("a = $x");
  (*filter.mutable_parameters())["x"];
  ExpectRefused(filter, "filter.parameters[x]", "has no value");
  (*filter.mutable_parameters())["x"].mutable_list()->add_values()->mutable_list();
  ExpectRefused(filter, "filter.parameters[x].list.values[0]", "is a list");
  filter.clear_parameters();
  for (size_t i = 0; i <= kFilterParametersMax; ++i) {
    (*filter.mutable_parameters())[absl::StrCat("p", i)].set_integer(1);
  }
  ExpectRefused(filter, "filter.parameters", "are 1025, at most 1024");
}

TEST(FilterMemory, CoversTheTokensOfAnExpression) {
  v1::Filter filter;
  filter.set_expression("a IN (");
  for (int i = 0; i < 1000; ++i) *filter.mutable_expression() += "1,";
  *filter.mutable_expression() += "1)";
  EXPECT_GT(FilterMemoryBytes(filter), 2000U * 64);
  EXPECT_LT(FilterMemoryBytes(filter), 2000U * 500);
}

TEST(ExplainProto, GoesThereAndBack) {
  db::Explain explain;
  explain.filter = "a = 1";
  explain.plan = db::SearchPlan::kProbe;
  explain.prices = {{db::SearchPlan::kExact, 3.5, false}, {db::SearchPlan::kProbe, 2, true}};
  explain.blocks_masked = 7;
  explain.filter_cached = true;
  explain.stages = {{"scan", 1.25}};
  v1::Explain message;
  ToProto(explain, &message);
  const db::Explain back = FromProto(message);
  EXPECT_EQ(back.filter, "a = 1");
  EXPECT_EQ(back.plan, db::SearchPlan::kProbe);
  ASSERT_EQ(back.prices.size(), 2U);
  EXPECT_TRUE(back.prices[1].chosen);
  EXPECT_EQ(back.blocks_masked, 7U);
  EXPECT_TRUE(back.filter_cached);
  ASSERT_EQ(back.stages.size(), 1U);
  EXPECT_EQ(back.stages[0].microseconds, 1.25);
}

TEST(ExplainProto, LongFiltersAreCutBetweenCharacters) {
  for (size_t shift = 0; shift < 2; ++shift) {
    db::Explain explain;
    explain.filter = std::string(shift, 'x');
    for (int i = 0; i < 4000; ++i) explain.filter += "é";
    v1::Explain message;
    ToProto(explain, &message);
    EXPECT_LE(message.filter().size(), 4096U);
    EXPECT_THAT(message.filter(), testing::EndsWith("é..."));
  }
}

}  // namespace
}  // namespace tessera::api
