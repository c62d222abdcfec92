#include "query/filter/evaluate.h"

#include <string>

#include "gtest/gtest.h"

#include "query/filter/normalize.h"
#include "query/filter/parser.h"
#include "tests/query/filter/oracle.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::query {
namespace {

bool Holds(std::string_view expression, std::string_view json) {
  const auto filter = ParseFilter(expression);
  EXPECT_OK(filter) << expression;
  const auto payload = base::ParseJson(json);
  EXPECT_OK(payload) << json;
  return Matches(*filter, base::PointId(uint64_t{7}), *payload);
}

TEST(Evaluate, AgreesWithASeparateAccount) {
  FilterOracle oracle(TestSeed());
  uint64_t held = 0;
  uint64_t tried = 0;
  for (int i = 0; i < 2000; ++i) {
    const OracleFilter drawn = oracle.Draw(i % 5);
    ASSERT_OK_AND_ASSIGN(const Filter filter, ParseFilter(drawn.text));
    const Filter normal = Normalize(filter);
    for (int j = 0; j < 40; ++j) {
      const base::PointId id = oracle.DrawId();
      const base::Value payload = oracle.DrawPayload();
      const bool expected = drawn.holds(id, payload);
      ASSERT_EQ(Matches(filter, id, payload), expected) << drawn.text << "\n" << payload.ToJson();
      ASSERT_EQ(Matches(normal, id, payload), expected)
          << drawn.text << "\nnormal: " << ToString(normal) << "\n"
          << payload.ToJson();
      held += expected ? 1 : 0;
      ++tried;
    }
  }
  // The draws ask something.
  EXPECT_GT(held, tried / 10);
  EXPECT_LT(held, tried / 10 * 9);
}

TEST(Evaluate, NegativeFormsHoldWithoutTheKey) {
  for (const char* json : {"{}", R"({"b":1})", R"({"a":null})", R"({"a":"red"})"}) {
    EXPECT_TRUE(Holds("a != 2", json)) << json;
    EXPECT_TRUE(Holds("NOT (a = 2)", json)) << json;
    EXPECT_TRUE(Holds("a NOT IN (2, 3)", json)) << json;
    EXPECT_FALSE(Holds("a = 2", json)) << json;
  }
  EXPECT_FALSE(Holds("a != 2", R"({"a":2})"));
  EXPECT_FALSE(Holds("a != 2", R"({"a":[1,2]})"));
}

TEST(Evaluate, EmptySetsHoldForNothingAndTheirOppositesForAll) {
  for (const char* json : {"{}", R"({"n":1})", R"({"n":2})"}) {
    EXPECT_FALSE(Holds("n IN ()", json));
    EXPECT_TRUE(Holds("n NOT IN ()", json));
  }
}

TEST(Evaluate, TypesDoNotMix) {
  EXPECT_FALSE(Holds("flag = true", R"({"flag":1})"));
  EXPECT_FALSE(Holds("flag = true", R"({"flag":"true"})"));
  EXPECT_TRUE(Holds("flag = true", R"({"flag":true})"));
  EXPECT_FALSE(Holds("flag = 1", R"({"flag":true})"));
  EXPECT_TRUE(Holds("x = 1", R"({"x":1.0})"));
  EXPECT_TRUE(Holds("x = 1.0", R"({"x":1})"));
  EXPECT_FALSE(Holds("x < 5", R"({"x":"3"})"));
  EXPECT_FALSE(Holds("x = 9007199254740993", R"({"x":9007199254740992.0})"));
  EXPECT_TRUE(Holds("x > 9007199254740992.0", R"({"x":9007199254740993})"));
  EXPECT_TRUE(Holds("x < 0.1", R"({"x":0})"));
  EXPECT_TRUE(Holds("x = 0", R"({"x":-0.0})"));
}

TEST(Evaluate, NullMissingAndPresentAreToldApart) {
  EXPECT_TRUE(Holds("EXISTS(name)", R"({"name":null})"));
  EXPECT_TRUE(Holds("EXISTS(name)", R"({"name":"x"})"));
  EXPECT_FALSE(Holds("EXISTS(name)", "{}"));
  EXPECT_TRUE(Holds("name IS NULL", R"({"name":null})"));
  EXPECT_FALSE(Holds("name IS NULL", "{}"));
  EXPECT_TRUE(Holds("name IS NOT NULL", "{}"));
  EXPECT_TRUE(Holds("EXISTS(name) AND name IS NOT NULL", R"({"name":"x"})"));
}

TEST(Evaluate, DatetimesAreInstants) {
  EXPECT_TRUE(
      Holds(R"(t >= datetime("2024-01-01T00:00:00Z"))", R"({"t":"2024-01-01T01:00:00+01:00"})"));
  EXPECT_TRUE(Holds(R"(t <= datetime("1969-07-21T20:17:40Z"))", R"({"t":"1969-07-21T20:17:40"})"));
  EXPECT_FALSE(Holds(R"(t > datetime("2000-01-01"))", R"({"t":"2024-13-45"})"));
  EXPECT_FALSE(Holds(R"(t > datetime("2000-01-01"))", R"({"t":"yesterday"})"));
  EXPECT_FALSE(Holds(R"(t > datetime("2000-01-01"))", R"({"t":5})"));
  // Texts compare as texts.
  EXPECT_TRUE(Holds(R"(t >= "2024-01-01T00:00:00Z")", R"({"t":"2024-06-01T00:00:00Z"})"));
  EXPECT_TRUE(Holds(R"(t IN (datetime("2024-01-01"), "x"))", R"({"t":"2024-01-01T00:00:00Z"})"));
}

TEST(Evaluate, ListsAreEachOfTheirScalars) {
  EXPECT_TRUE(Holds(R"("noun" IN pos)", R"({"pos":["verb","noun"]})"));
  EXPECT_TRUE(Holds(R"(pos CONTAINS "noun")", R"({"pos":"noun"})"));
  EXPECT_TRUE(Holds(R"(len = 12 AND "noun" IN pos)", R"({"len":12,"pos":["noun"]})"));
  // Two comparisons may hold for two values, BETWEEN asks for one.
  EXPECT_TRUE(Holds("n > 1 AND n < 5", R"({"n":[0,10]})"));
  EXPECT_FALSE(Holds("n BETWEEN 1 AND 5", R"({"n":[0,10]})"));
  EXPECT_TRUE(Holds("n BETWEEN > 1 AND < 3", R"({"n":[1,2,3]})"));
  EXPECT_FALSE(Holds("n BETWEEN > 1 AND < 2", R"({"n":[1,2,3]})"));
  EXPECT_FALSE(Holds("n = 1", R"({"n":[[1],{"n":1}]})"));
}

TEST(Evaluate, GeoBoxesCrossTheDateLine) {
  const char* json = R"({"at":{"lat":-17.8,"lon":179.5}})";
  EXPECT_TRUE(Holds("geo_box(at, -10, 170, -20, -170)", json));
  EXPECT_FALSE(Holds("geo_box(at, -10, -170, -20, 170)", json));
  EXPECT_TRUE(Holds("geo_radius(at, -17.8, -179.5, 110000)", json));
  EXPECT_FALSE(Holds("geo_radius(at, -17.8, -179.5, 100000)", json));
  EXPECT_FALSE(Holds("geo_radius(at, 0, 0, 30000000)", R"({"at":{"lat":91,"lon":0}})"));
  EXPECT_FALSE(Holds("geo_radius(at, 0, 0, 30000000)", R"({"at":{"lat":"1","lon":0}})"));
}

}  // namespace
}  // namespace tessera::query
