// count, scroll and set-payload.
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/check.h"
#include "tests/api/cli/target_test.h"

namespace tessera::api {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CliScrollTest : public CliTargetTest {
 protected:
  CliScrollTest() {
    Create("c", {"--dim", "1", "--metric", "l2"});
    Add("x", "{\"a\":1}");
    Add("18446744073709551615", "null");
    Add("6f1c2a3b-0000-4000-8000-0000000000ff", "{}");
    Add("3", "{\"a\":\"b\"}");
  }

  void Add(const std::string& id, const std::string& payload) {
    TESSERA_CHECK(runner_.collection("c")
                      ->Upsert({{.id = *base::PointId::Parse(id),
                                 .vectors = {{"", FloatBytes({0.5})}},
                                 .payload = *base::ParseJson(payload)}},
                               db::Ack::kWal)
                      .ok());
  }
};

INSTANTIATE_TEST_SUITE_P(Targets, CliScrollTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "Server" : "Data"; });

TEST_P(CliScrollTest, Counts) {
  const CliResult result = Run("count", "c");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "{\"collection\":\"c\",\"points\":4}\n");
  EXPECT_EQ(Run("count", "d").code, 1);
}

TEST_P(CliScrollTest, PrintsPointsInTheOrderOfIds) {
  const CliResult result = Run("scroll", "c");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(
      Lines(result.out),
      ElementsAre(R"({"id":3,"version":4,"payload":{"a":"b"}})",
                  R"({"id":18446744073709551615,"version":2,"payload":null})",
                  R"({"id":"6f1c2a3b-0000-4000-8000-0000000000ff","version":3,"payload":{}})",
                  R"({"id":"x","version":1,"payload":{"a":1}})"));
  EXPECT_THAT(result.err, IsEmpty());
  EXPECT_THAT(Run("scroll", "c", {"--limit", "1", "--with-vectors"}).out,
              HasSubstr(R"("vectors":{"":[0.5]})"));
}

TEST_P(CliScrollTest, TellsWhereToGoOn) {
  const CliResult first = Run("scroll", "c", {"--limit", "2"});
  EXPECT_EQ(Lines(first.out).size(), 2u);
  EXPECT_EQ(first.err, "tessera: more follow from --offset 6f1c2a3b-0000-4000-8000-0000000000ff\n");
  const CliResult second =
      Run("scroll", "c", {"--limit", "2", "--offset", "6f1c2a3b-0000-4000-8000-0000000000ff"});
  EXPECT_EQ(Lines(second.out).size(), 2u);
  EXPECT_THAT(second.err, IsEmpty());
  EXPECT_THAT(Run("scroll", "c", {"--offset", "y"}).out, IsEmpty());
  EXPECT_EQ(Run("scroll", "c", {"--limit", "0"}).code, 2);
}

TEST_P(CliScrollTest, PrintsMoreThanAPage) {
  for (int i = 0; i < 3000; ++i) Add(absl::StrCat("p", i), "null");
  EXPECT_EQ(Lines(Run("scroll", "c", {"--limit", "2999"}).out).size(), 2999u);
  EXPECT_EQ(Lines(Run("scroll", "c", {"--limit", "100000"}).out).size(), 3004u);
}

TEST_P(CliScrollTest, PagesEndWhereTheirPayloadsAreLong) {
  const std::string long_text(1'000'000, 'x');
  for (int i = 0; i < 12; ++i) Add(absl::StrCat("p", i), absl::StrCat("{\"a\":\"", long_text, "\"}"));
  const CliResult result = Run("scroll", "c", {"--limit", "100"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(Lines(result.out).size(), 16u);
  EXPECT_LE(runner_.collection("c")->bytes_scrolled_max, uint64_t{5} << 20);
}

// A call that would write too much is halved until it does not.
TEST_P(CliScrollTest, SetsLongPayloadsInAsManyCallsAsItTakes) {
  std::string ids;
  for (int i = 0; i < 40; ++i) {
    Add(absl::StrCat("p", i), "null");
    absl::StrAppend(&ids, "p", i, "\n");
  }
  runner_.collection("c")->merged_bytes_max = 50'000;
  const std::string payload = absl::StrCat("{\"a\":\"", std::string(10'000, 'y'), "\"}");
  const CliResult result =
      RunOnStdin(ids, "set-payload", "c", {"--ids", "-", "--payload", payload});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "{\"collection\":\"c\",\"updated\":40}\n");
  EXPECT_EQ(PointOf("c", "p39").payload.ToJson(), payload);
  // One point alone that is too long for a write is an error; what was written before stays.
  runner_.collection("c")->merged_bytes_max = 5'000;
  const CliResult never =
      RunOnStdin("p1\np2\n", "set-payload", "c", {"--ids", "-", "--payload", payload});
  EXPECT_EQ(never.code, 1);
  EXPECT_THAT(never.err, AllOf(HasSubstr("RESOURCE_EXHAUSTED"), HasSubstr("(0 points updated)")));
}

TEST_P(CliScrollTest, SetsOnePayloadForManyPoints) {
  const CliResult result =
      Run("set-payload", "c", {"3", "x", "--payload", R"({"a":null,"n":[2]})"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "{\"collection\":\"c\",\"updated\":2}\n");
  EXPECT_EQ(PointOf("c", "x").payload.ToJson(), "{\"n\":[2]}");
  EXPECT_EQ(PointOf("c", "3").payload.ToJson(), "{\"n\":[2]}");
  const CliResult file = RunOnStdin("x\n18446744073709551615\n\n", "set-payload", "c",
                                    {"--ids", "-", "--payload", "{\"k\":1}"});
  EXPECT_EQ(file.code, 0) << file.err;
  EXPECT_EQ(PointOf("c", "18446744073709551615").payload.ToJson(), "{\"k\":1}");
}

TEST_P(CliScrollTest, SetsThePayloadOfEachLine) {
  const CliResult result = RunOnStdin(
      "{\"id\":3,\"payload\":{\"a\":1}}\r\n{\"id\":18446744073709551615,\"payload\":{\"b\":2}}\n\n",
      "set-payload", "c", {"--file", "-"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(PointOf("c", "3").payload.ToJson(), "{\"a\":1}");
  EXPECT_EQ(PointOf("c", "18446744073709551615").payload.ToJson(), "{\"b\":2}");
  for (const auto& [line, message] : {std::pair("{\"id\":\"7\",\"payload\":{}}", "without quotes"),
                                      std::pair("{\"id\":9,\"payload\":{}}", "9"),
                                      std::pair("{\"id\":3}", "must be an object of"),
                                      std::pair("{\"id\":3,\"payload\":[]}", "no JSON object"),
                                      std::pair("nonsense", "not valid JSON")}) {
    const CliResult bad = RunOnStdin(absl::StrCat("{\"id\":3,\"payload\":{}}\n", line),
                                     "set-payload", "c", {"--file", "-"});
    EXPECT_EQ(bad.code, 1) << line;
    EXPECT_THAT(bad.err, AllOf(HasSubstr("stdin: line 2: "), HasSubstr(message),
                               HasSubstr("(1 points updated)")));
  }
}

TEST_P(CliScrollTest, SetPayloadSaysWhatIsMissingOrWrong) {
  EXPECT_EQ(Run("set-payload", "c", {"3"}).code, 2);
  EXPECT_EQ(Run("set-payload", "c", {"--payload", "{}"}).code, 2);
  EXPECT_EQ(Run("set-payload", "c", {"3", "--payload", "[1]"}).code, 2);
  EXPECT_EQ(Run("set-payload", "c", {"3", "--payload", "{"}).code, 2);
  EXPECT_EQ(Run("set-payload", "c", {"3", "--file", "x"}).code, 2);
  EXPECT_EQ(Run("set-payload", "c", {"3", "--ids", "x", "--payload", "{}"}).code, 2);
  const CliResult large =
      Run("set-payload", "c", {"3", "--payload", "{\"n\":18446744073709551615}"});
  EXPECT_EQ(large.code, 2);
  EXPECT_THAT(large.err, HasSubstr("in quotes"));
  const CliResult absent = Run("set-payload", "c", {"3", "99", "--payload", "{\"a\":0}"});
  EXPECT_EQ(absent.code, 1);
  EXPECT_THAT(absent.err, AllOf(HasSubstr("NOT_FOUND"), HasSubstr("99")));
  EXPECT_EQ(PointOf("c", "3").payload.ToJson(), "{\"a\":\"b\"}");
}

}  // namespace
}  // namespace tessera::api
