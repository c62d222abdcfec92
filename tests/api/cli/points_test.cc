// get and delete.
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/check.h"
#include "tests/api/cli_runner.h"
#include "tests/api/files.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class CliPointsTest : public testing::Test {
 protected:
  CliPointsTest() {
    runner_.Run(
        {"create", "--data", "fake", "c", "--dim", "2", "--metric", "l2", "--vector", "t:1:l2:u8"});
    for (const char* id :
         {"17", "6f1c2a3b-0000-4000-8000-0000000000ff", "a b", "18446744073709551615"}) {
      base::Value::Object payload;
      payload.emplace("name", base::Value(std::string("say \"") + id + "\"\n"));
      db::Point point{.id = *base::PointId::Parse(id),
                      .vectors = {{"", FloatBytes({0.1F, -2})}, {"t", "\xff"}},
                      .payload = base::Value(payload)};
      TESSERA_CHECK(runner_.collection("c")->Upsert({point}, db::Ack::kWal).ok());
    }
  }

  CliRunner runner_;
};

TEST_F(CliPointsTest, GetsEveryKindOfId) {
  const FakeServer server(runner_);
  for (const std::vector<std::string>& target :
       std::vector<std::vector<std::string>>{{"--data", "fake"}, {"--server", server.address()}}) {
    const CliResult result =
        runner_.Run({"get", target[0], target[1], "c", "a b", "17",
                     "6f1c2a3b-0000-4000-8000-0000000000ff", "18446744073709551615"});
    EXPECT_EQ(result.code, 0) << result.err;
    const std::vector<std::string> lines = Lines(result.out);
    ASSERT_EQ(lines.size(), 4u);
    EXPECT_EQ(lines[0], R"({"id":"a b","version":3,"payload":{"name":"say \"a b\"\n"}})");
    EXPECT_EQ(lines[1], R"({"id":17,"version":1,"payload":{"name":"say \"17\"\n"}})");
    EXPECT_EQ(*JsonObject(lines[2]).at("id").string(), "6f1c2a3b-0000-4000-8000-0000000000ff");
    EXPECT_THAT(lines[3], HasSubstr(R"("id":18446744073709551615,)"));
  }
}

TEST_F(CliPointsTest, GetsVectors) {
  const CliResult result = runner_.Run({"get", "--data", "fake", "c", "17", "--with-vectors"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr(R"("vectors":{"":[0.1,-2],"t":[255]}})"));
}

TEST_F(CliPointsTest, AnAbsentPointFailsAfterTheOthersArePrinted) {
  const CliResult result = runner_.Run({"get", "--data", "fake", "c", "5", "17", "x"});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(Lines(result.out).size(), 1u);
  EXPECT_THAT(result.err, AllOf(HasSubstr("NOT_FOUND"), HasSubstr("5, x"), Not(HasSubstr("17"))));
}

TEST_F(CliPointsTest, DeletesWhatIsThere) {
  const CliResult result = runner_.Run({"delete", "--data", "fake", "c", "17", "5", "a b"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "{\"collection\":\"c\",\"deleted\":2,\"absent\":1}\n");
  EXPECT_EQ(*runner_.collection("c")->Count(), 2u);
  EXPECT_EQ(runner_.collection("c")->last_ack(), db::Ack::kWal);
}

TEST_F(CliPointsTest, DeletesTheIdsOfAFileInBatches) {
  const FakeServer server(runner_);
  std::string ids =
      "\xEF\xBB\xBF"
      "17\r\na b\n";
  for (int i = 0; i < 9000; ++i) absl::StrAppend(&ids, "x", i, "\n");
  const InputDir dir;
  const CliResult result = runner_.Run(
      {"delete", "--server", server.address(), "c", "--ids", dir.Write("ids", ids + "\n")});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "{\"collection\":\"c\",\"deleted\":2,\"absent\":9000}\n");
  const CliResult rest =
      runner_.RunOnStdin("6f1c2a3b-0000-4000-8000-0000000000ff\n\n18446744073709551615",
                         {"delete", "--data", "fake", "c", "--ids", "-"});
  EXPECT_EQ(rest.code, 1);
  EXPECT_THAT(rest.err, AllOf(HasSubstr("stdin: line 2: the line is empty"),
                              HasSubstr("(0 points deleted)")));
  EXPECT_EQ(
      runner_.RunOnStdin("18446744073709551615", {"delete", "--data", "fake", "c", "--ids", "-"})
          .code,
      0);
  EXPECT_EQ(*runner_.collection("c")->Count(), 1u);
}

TEST_F(CliPointsTest, NoIdIsWrongUsage) {
  EXPECT_EQ(runner_.Run({"get", "--data", "fake", "c"}).code, 2);
  EXPECT_EQ(runner_.Run({"delete", "--data", "fake", "c"}).code, 2);
  EXPECT_EQ(runner_.Run({"delete", "--data", "fake", "c", "1", "--ids", "f"}).code, 2);
  const CliResult result = runner_.Run({"get", "--data", "fake", "c", std::string(513, 'x')});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.out, IsEmpty());
}

}  // namespace
}  // namespace tessera::api
