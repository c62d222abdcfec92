// --filter on every command that takes it, facet, --explain and --plan.
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/check.h"
#include "tests/api/cli/target_test.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class CliFilterTest : public CliTargetTest {
 protected:
  CliFilterTest() {
    Create("c", {"--dim", "1", "--metric", "l2"});
    for (uint64_t id = 0; id < 6; ++id) {
      db::Point point{.id = base::PointId(id),
                      .vectors = {{"", FloatBytes({static_cast<float>(id)})}},
                      .payload = base::Value()};
      point.payload_json =
          absl::StrCat("{\"n\":", id, ",\"color\":\"", id % 3 == 0 ? "red" : "blue", "\"}");
      TESSERA_CHECK(runner_.collection("c")->Upsert({point}, db::Ack::kWal).ok());
    }
    queries_ = dir_.Write("q.fbin", LittleU32(2) + LittleU32(1) + FloatBytes({0, 5}));
  }

  std::string queries_;
};

INSTANTIATE_TEST_SUITE_P(Targets, CliFilterTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "Server" : "Data"; });

TEST_P(CliFilterTest, CountTakesAFilterWithParameters) {
  const CliResult result = Run("count", "c",
                               {"--filter", "n < $max AND color IN $colors", "--param", "max=4",
                                "--param", "$colors=[\"red\"]"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "{\"collection\":\"c\",\"points\":2}\n");
  EXPECT_THAT(result.err, IsEmpty());
}

TEST_P(CliFilterTest, ScrollAndExportPrintTheMatches) {
  const CliResult scroll =
      Run("scroll", "c", {"--filter", "color = 'blue'", "--limit", "2", "--offset", "2"});
  EXPECT_EQ(scroll.code, 0) << scroll.err;
  EXPECT_THAT(Lines(scroll.out), ElementsAre(StartsWith("{\"id\":2,"), StartsWith("{\"id\":4,")));
  EXPECT_THAT(scroll.err, HasSubstr("more follow"));
  const CliResult exported = Run("export", "c", {"--filter", "color = 'red'"});
  EXPECT_EQ(exported.code, 0) << exported.err;
  EXPECT_THAT(Lines(exported.out), ElementsAre(StartsWith("{\"id\":0,"), StartsWith("{\"id\":3,")));
  EXPECT_THAT(exported.err, HasSubstr("\"points\":2"));
}

TEST_P(CliFilterTest, SearchTakesAFilterAndAPlan) {
  const CliResult near =
      Run("search", "c", {"--id", "0", "--filter", "color = 'red'", "--plan", "exact"});
  EXPECT_EQ(near.code, 0) << near.err;
  EXPECT_EQ(Lines(near.out).size(), 1U);
  EXPECT_THAT(near.out, StartsWith("{\"id\":3,"));
  EXPECT_EQ(runner_.collection("c")->last_params().plan, db::SearchPlan::kExact);
  EXPECT_FALSE(runner_.collection("c")->last_params().explain);
  const CliResult many = Run("search", "c",
                             {"--queries", queries_, "--filter", "n IN (2, 3)", "--plan", "probe",
                              "--output", "-", "--with-payload"});
  EXPECT_EQ(many.code, 0) << many.err;
  ASSERT_EQ(Lines(many.out).size(), 2U);
  EXPECT_THAT(Lines(many.out)[1], AllOf(HasSubstr("\"id\":3"), Not(HasSubstr("\"id\":5"))));
  EXPECT_EQ(runner_.collection("c")->last_params().plan, db::SearchPlan::kProbe);
}

TEST_P(CliFilterTest, ExplainPrintsATree) {
  const CliResult result =
      Run("search", "c", {"--id", "0", "--filter", "n > 3", "--explain", "--limit", "1"});
  EXPECT_EQ(result.code, 0) << result.err;
  const size_t tree = result.out.find("search: plan exact\n");
  ASSERT_NE(tree, std::string::npos) << result.out;
  EXPECT_EQ(result.out.substr(tree),
            "search: plan exact\n"
            "├─ filter: n > 3 (matches known before)\n"
            "├─ plans thought of\n"
            "│  ├─ exact: 20.0 us, chosen\n"
            "│  └─ probe: 45.5 us, rejected\n"
            "├─ rows: 3 estimated, 2 matching, 4 fresh\n"
            "├─ lists: 3 in all, 2 eligible, 1 probed\n"
            "├─ blocks: 8 of 64 rows, 7 masked\n"
            "├─ codes: 64 scanned, 9 survivors, 5 reranked\n"
            "├─ read: 4KiB from disk\n"
            "├─ stages\n"
            "│  ├─ filter: 1.5 us\n"
            "│  └─ scan: 12.0 us\n"
            "└─ estimated recall: 0.975\n");
}

TEST_P(CliFilterTest, ExplainPrintsJson) {
  const CliResult one = Run("search", "c", {"--id", "0", "--filter", "n > 3", "--explain=json"});
  EXPECT_EQ(one.code, 0) << one.err;
  const std::vector<std::string> lines = Lines(one.out);
  ASSERT_EQ(lines.size(), 3U);
  const base::Value::Object explain = *JsonObject(lines[2]).at("explain").object();
  EXPECT_EQ(*explain.at("plan").string(), "exact");
  EXPECT_EQ(*explain.at("matching_rows").integer(), 2);
  EXPECT_EQ(*explain.at("blocks_masked").integer(), 7);
  EXPECT_EQ(explain.at("prices").list()->size(), 2U);
  EXPECT_EQ(explain.at("stages").list()->size(), 2U);
  const CliResult many = Run("search", "c", {"--queries", queries_, "--explain=json"});
  EXPECT_EQ(many.code, 0) << many.err;
  ASSERT_EQ(Lines(many.out).size(), 2U);
  EXPECT_THAT(Lines(many.out)[1], StartsWith("{\"explain\":{\"filter\":\"\","));
  const CliResult count = Run("count", "c", {"--filter", "n > 3", "--explain"});
  EXPECT_THAT(count.out, HasSubstr("count: plan "));
}

TEST_P(CliFilterTest, DeleteAsksForNothingAndTellsHowMany) {
  const CliResult result = Run("delete", "c", {"--filter", "color = 'red'"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "{\"collection\":\"c\",\"deleted\":2}\n");
  EXPECT_EQ(*runner_.collection("c")->Count(), 4U);
  EXPECT_EQ(Run("delete", "c", {"--filter", "color = 'red'"}).out,
            "{\"collection\":\"c\",\"deleted\":0}\n");
}

TEST_P(CliFilterTest, SetPayloadOfTheMatches) {
  const CliResult result =
      Run("set-payload", "c", {"--filter", "n >= 4", "--payload", "{\"new\":1}"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "{\"collection\":\"c\",\"updated\":2}\n");
  EXPECT_THAT(Run("count", "c", {"--filter", "new = 1"}).out, HasSubstr("\"points\":2"));
}

TEST_P(CliFilterTest, FacetPrintsValues) {
  const CliResult result = Run("facet", "c", {"color", "--filter", "n < 5"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(Lines(result.out),
              ElementsAre("{\"value\":\"blue\",\"points\":3}", "{\"value\":\"red\",\"points\":2}"));
  EXPECT_THAT(result.err, HasSubstr("5 points pass the filter, 2 values"));
  EXPECT_EQ(Lines(Run("facet", "c", {"n", "--limit", "4"}).out).size(), 4U);
  const CliResult nobody = Run("facet", "c", {"in.`odd name`"});
  EXPECT_EQ(nobody.code, 0) << nobody.err;
  EXPECT_THAT(nobody.err, HasSubstr("warning: facet: no point has the path"));
  const CliResult wrong = Run("facet", "c", {"a..b"});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.err, HasSubstr("path: has an empty name"));
}

TEST_P(CliFilterTest, WarningsGoToStderr) {
  const std::string warning = "tessera: warning: filter: no point has the path colour\n";
  const std::vector<std::string> filter = {"--filter", "colour = 'red'"};
  EXPECT_EQ(Run("count", "c", filter).err, warning);
  EXPECT_EQ(Run("scroll", "c", filter).err, warning);
  EXPECT_EQ(Run("delete", "c", filter).err, warning);
  EXPECT_THAT(Run("export", "c", filter).err, StartsWith(warning));
  EXPECT_EQ(Run("search", "c", {"--id", "0", "--filter", "colour = 'red'"}).err, warning);
  EXPECT_EQ(Run("search", "c", {"--queries", queries_, "--filter", "colour = 'red'"}).err, warning);
  EXPECT_EQ(Run("set-payload", "c", {"--payload", "{}", "--filter", "colour = 'red'"}).err,
            warning);
  const CliResult strict = Run("count", "c", {"--filter", "colour = 'red'", "--strict"});
  EXPECT_EQ(strict.code, 1);
  EXPECT_THAT(strict.err, HasSubstr("INVALID_ARGUMENT: filter: no point has the path colour"));
}

TEST_P(CliFilterTest, WrongFiltersAreToldWithTheirPosition) {
  for (const char* command : {"count", "scroll", "delete", "export"}) {
    const CliResult result = Run(command, "c", {"--filter", "n = red"});
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.err, HasSubstr("at position 5, near `red`"));
  }
  EXPECT_EQ(*runner_.collection("c")->Count(), 6U);
}

TEST_P(CliFilterTest, WrongUsage) {
  const auto expect = [&](const std::string& command, const std::vector<std::string>& words,
                          const std::string& message) {
    const CliResult result = Run(command, "c", words);
    EXPECT_EQ(result.code, 2) << result.err;
    EXPECT_THAT(result.err, HasSubstr(message));
  };
  expect("count", {"--filter", " "}, "--filter is empty");
  expect("count", {"--param", "a=1"}, "--param is for --filter");
  expect("scroll", {"--strict"}, "--strict is for --filter");
  expect("count", {"--filter", "n = $a", "--param", "a"}, "is not NAME=JSON");
  expect("count", {"--filter", "n = $a", "--param", "a=red"}, "a text is quoted");
  expect("count", {"--filter", "n = $a", "--param", "a={}"}, "must be a boolean, a number");
  expect("count", {"--filter", "n = $a", "--param", "a=null"}, "must be a boolean, a number");
  expect("count", {"--filter", "n = $a", "--param", "a=1", "--param", "a=2"},
         "has a value already");
  expect("delete", {"1", "--filter", "n = 1"}, "both ids and --filter");
  expect("delete", {"--param", "a=1", "1"}, "--param is for --filter");
  expect("set-payload", {"1", "--payload", "{}", "--filter", "n = 1"}, "--payload alone");
  expect("search", {"--id", "1", "--exact", "--plan", "probe"}, "beside --exact");
  expect("search", {"--id", "1", "--plan", "magic"}, "--plan");
  expect("search", {"--id", "1", "--explain=yaml"}, "--explain");
  expect("facet", {}, "path");
  EXPECT_EQ(*runner_.collection("c")->Count(), 6U);
}

}  // namespace
}  // namespace tessera::api
