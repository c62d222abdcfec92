// What filters of other systems got wrong, asked of fresh, absorbed and reopened points alike.
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "db/database.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::db {
namespace {

using testing::ElementsAreArray;

struct Rule {
  const char* what;
  std::vector<const char*> payloads;  // of the points 0, 1, 2 ...; null: none
  struct Case {
    const char* filter;
    std::vector<uint64_t> ids;
  };
  std::vector<Case> cases;
};

std::vector<Rule> Rules() {
  return {
      {"a missing key is equal to nothing",
       {R"({"color":"red"})", R"({"color":"blue"})", R"({})", nullptr},
       {{"color = 'red'", {0}},
        {"color != 'red'", {1, 2, 3}},
        {"NOT EXISTS(color)", {2, 3}},
        {"color IN ()", {}},
        {"color NOT IN ()", {0, 1, 2, 3}}}},
      {"null and missing are told apart",
       {R"({"name":null})", R"({})", R"({"name":"x"})", R"({"name":[]})"},
       {{"EXISTS(name)", {0, 2, 3}},
        {"name IS NULL", {0}},
        {"name IS NOT NULL", {1, 2, 3}},
        {"name NOT IN ('x')", {0, 1, 3}},
        {"name = 'x'", {2}}}},
      {"booleans, numbers and texts are of different types",
       {R"({"flag":true})", R"({"flag":false})", R"({"flag":1})", R"({"flag":"true"})",
        R"({"flag":1.0})", R"({"flag":[0,true]})"},
       {{"flag = true", {0, 5}},
        {"flag = false", {1}},
        {"flag = 1", {2, 4}},
        {"flag = 'true'", {3}},
        {"flag IN (true, 'true', 0)", {0, 3, 5}},
        {"flag > 0", {2, 4}}}},
      {"texts that are no dates are no dates",
       {R"({"t":"2024-13-45"})", R"({"t":"yesterday"})", R"({"t":"2024-01-01 00:00"})",
        R"({"t":"2024-01-01T00:00:00Z"})", R"({"t":"1969-07-21T20:17:40"})",
        R"({"t":"2024-01-01T01:00:00+01:00"})", R"({"t":"2024-06-30"})"},
       {{"t >= datetime('2024-01-01T00:00:00Z')", {3, 5, 6}},
        {"t > datetime('2024-01-01T00:00:00Z')", {6}},
        {"t <= datetime('1969-07-21T20:17:40')", {4}},
        {"t = datetime('2024-01-01T00:00:00Z')", {3, 5}},
        {"t BETWEEN datetime('1969-01-01') AND datetime('2024-01-01')", {3, 4, 5}},
        {"t = '2024-13-45'", {0}}}},
      {"texts that look like numbers stay texts",
       {R"({"text_id":"17"})", R"({"text_id":17})",
        R"({"text_id":"6f1c1f5e-0d2c-4a55-9a5e-0123456789ab"})"},
       {{"text_id IN ('17', 'not there')", {0}},
        {"text_id = 17", {1}},
        {"text_id IN ('6f1c1f5e-0d2c-4a55-9a5e-0123456789ab', 'x')", {2}}}},
      {"lists: any, all, none",
       {R"({"pos":["noun","verb"]})", R"({"pos":["noun"]})", R"({"pos":[]})", R"({"pos":"noun"})",
        R"({"pos":[["noun"]]})", R"({"other":1})"},
       {{"'noun' IN pos", {0, 1, 3}},
        {"pos CONTAINS ALL ('noun', 'verb')", {0}},
        {"pos CONTAINS NONE ('noun')", {2, 4, 5}},
        {"NOT (pos CONTAINS 'verb')", {1, 2, 3, 4, 5}}}},
      {"numbers compare exactly",
       {R"({"n":9007199254740993})", R"({"n":9007199254740992.0})", R"({"n":-0.0})", R"({"n":0})",
        R"({"n":0.1})", R"({"n":1e300})"},
       {{"n = 9007199254740993", {0}},
        {"n = 9007199254740992", {1}},
        {"n > 9007199254740992", {0, 5}},
        {"n = 0", {2, 3}},
        {"n <= 0.1", {2, 3, 4}},
        {"n < 0.1", {2, 3}}}},
      {"names that are odd, nested or alike",
       {R"({"a.b":1})", R"({"a":{"b":1}})", R"({"a":{"b":{"c":1}}})", R"({"and":1})"},
       {{"`a.b` = 1", {0}},
        {"a.b = 1", {1}},
        {"a.b.c = 1", {2}},
        {"EXISTS(a.b)", {1, 2}},
        {"`and` = 1", {3}}}},
      {"long texts are there, and no more",
       {R"({"s":"short"})", nullptr},
       {{"s LIKE 'sh%'", {0}}, {"EXISTS(s)", {0}}}},
      {"the point's own id",
       {R"({"x":1})", R"({"x":1})", R"({"x":2})"},
       {{"has_id(1, 2, 99) AND x = 1", {1}}, {"NOT has_id(0)", {1, 2}}}},
  };
}

class FilterRules : public testing::TestWithParam<size_t> {};

TEST_P(FilterRules, HoldWhereverThePointIs) {
  const Rule rule = Rules()[GetParam()];
  SCOPED_TRACE(rule.what);
  TempDir dir;
  const DatabaseOptions options{
      .memory_limit = uint64_t{256} << 20, .threads = 1, .background_absorb = false};
  auto database = Database::Open(dir.path(), options);
  ASSERT_THAT(database, IsOk());
  ASSERT_THAT((*database)->CreateCollection(
                  {.name = "c", .vectors = {{.name = "", .dim = 2, .metric = base::Metric::kL2}}}),
              IsOk());
  auto collection = (*database)->GetCollection("c");
  ASSERT_THAT(collection, IsOk());
  std::vector<Point> points;
  for (size_t i = 0; i < rule.payloads.size(); ++i) {
    const float vector[] = {static_cast<float>(i), 1};
    Point point{.id = base::PointId(uint64_t{i}),
                .vectors = {{"", std::string(sizeof(vector), '\0')}},
                .payload = {}};
    std::memcpy(point.vectors[0].bytes.data(), vector, sizeof(vector));
    if (rule.payloads[i] != nullptr) point.payload = *base::ParseJson(rule.payloads[i]);
    points.push_back(std::move(point));
  }
  ASSERT_THAT((*collection)->Upsert(std::move(points), Ack::kWal), IsOk());
  const auto check = [&](const char* state) {
    for (const Rule::Case& wanted : rule.cases) {
      SCOPED_TRACE(testing::Message() << state << ": " << wanted.filter);
      const FilterText filter{.expression = wanted.filter};
      const auto page = (*collection)->ScrollWhere({.filter = filter});
      ASSERT_THAT(page, IsOk());
      std::vector<uint64_t> ids;
      for (const StoredPoint& point : page->points) ids.push_back(*point.id.number());
      EXPECT_THAT(ids, ElementsAreArray(wanted.ids));
      const auto count = (*collection)->CountWhere({.filter = filter});
      ASSERT_THAT(count, IsOk());
      EXPECT_EQ(count->count, wanted.ids.size());
      const auto found = (*collection)->Search(std::vector<float>{0, 1}, {.filter = filter});
      ASSERT_THAT(found, IsOk());
      EXPECT_EQ(found->hits.size(), wanted.ids.size());
    }
  };
  check("fresh");
  ASSERT_THAT((*collection)->Absorb(), IsOk());
  check("absorbed");
  collection->reset();
  database->reset();
  database = Database::Open(dir.path(), options);
  ASSERT_THAT(database, IsOk());
  collection = (*database)->GetCollection("c");
  ASSERT_THAT(collection, IsOk());
  check("reopened");
}

INSTANTIATE_TEST_SUITE_P(All, FilterRules, testing::Range(size_t{0}, Rules().size()));

}  // namespace
}  // namespace tessera::db
