// create, list, stats, drop, version, and what all commands have in common.
#include <cstdlib>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/api/cli_runner.h"

namespace tessera::api {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Every command works on a directory and on a server alike.
class CliTargetTest : public testing::TestWithParam<bool> {
 protected:
  CliTargetTest() {
    if (GetParam()) server_ = std::make_unique<FakeServer>(runner_);
  }

  CliResult Run(std::vector<std::string> words) {
    words.insert(words.begin() + 1, GetParam() ? "--server" : "--data");
    words.insert(words.begin() + 2, GetParam() ? server_->address() : "fake");
    return runner_.Run(words);
  }

  CliRunner runner_;
  std::unique_ptr<FakeServer> server_;
};

INSTANTIATE_TEST_SUITE_P(Targets, CliTargetTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "Server" : "Data"; });

TEST_P(CliTargetTest, CreatesWithDefaults) {
  const CliResult result = Run({"create", "c", "--dim", "7", "--metric", "l2"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "{\"created\":\"c\"}\n");
  EXPECT_THAT(result.err, IsEmpty());
  EXPECT_EQ(runner_.collection("c")->schema(),
            (base::CollectionSchema{
                .name = "c", .vectors = {{"", 7, base::Metric::kL2, base::ElementType::kF32}}}));
}

TEST_P(CliTargetTest, CreatesNamedVectors) {
  const CliResult result = Run({"create", "c", "--dim", "3", "--metric", "ip", "--type", "u8",
                                "--vector", "title:5:cosine", "--vector", "body:9:l2:f16"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(runner_.collection("c")->schema().vectors,
            (std::vector<base::VectorFieldSchema>{
                {"", 3, base::Metric::kInnerProduct, base::ElementType::kU8},
                {"title", 5, base::Metric::kCosine, base::ElementType::kF32},
                {"body", 9, base::Metric::kL2, base::ElementType::kF16}}));
}

TEST_P(CliTargetTest, CreatesOnlyNamedVectors) {
  EXPECT_EQ(Run({"create", "c", "--vector", "t:5:ip"}).code, 0);
  EXPECT_EQ(runner_.collection("c")->schema().vectors.size(), 1u);
}

TEST_P(CliTargetTest, CreatingTwiceFails) {
  ASSERT_EQ(Run({"create", "c", "--dim", "7", "--metric", "l2"}).code, 0);
  const CliResult result = Run({"create", "c", "--dim", "7", "--metric", "l2"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("ALREADY_EXISTS"), HasSubstr("c exists")));
  EXPECT_THAT(result.out, IsEmpty());
}

TEST_P(CliTargetTest, WrongSchemasAreWrongUsage) {
  EXPECT_EQ(Run({"create", "c", "--dim", "0", "--metric", "l2"}).code, 2);
  EXPECT_EQ(Run({"create", "c", "--dim", "16385", "--metric", "l2"}).code, 2);
  EXPECT_EQ(Run({"create", "c", "--dim", "7", "--metric", "hamming"}).code, 2);
  EXPECT_EQ(Run({"create", "c", "--dim", "7", "--metric", "l2", "--type", "f64"}).code, 2);
  EXPECT_EQ(Run({"create", "c", "--dim", "7"}).code, 2);
  EXPECT_EQ(Run({"create", "c", "--metric", "l2"}).code, 2);
  EXPECT_EQ(Run({"create", "c"}).code, 2);
  EXPECT_EQ(Run({"create", "--dim", "7", "--metric", "l2"}).code, 2);
  EXPECT_EQ(Run({"create", "a/b", "--dim", "7", "--metric", "l2"}).code, 2);
  EXPECT_EQ(Run({"create", "c", "--vector", "t:5"}).code, 2);
  EXPECT_EQ(Run({"create", "c", "--vector", "t:0:l2"}).code, 2);
  EXPECT_EQ(Run({"create", "c", "--vector", "t:5:l2:f64"}).code, 2);
  EXPECT_EQ(Run({"create", "c", "--vector", "t:5:l2", "--vector", "t:5:l2"}).code, 2);
  const CliResult result = Run({"create", "c", "--dim", "7", "--metric", "hamming"});
  EXPECT_THAT(result.err, AllOf(HasSubstr("hamming"), HasSubstr("cosine")));
  EXPECT_FALSE(runner_.has_collection("c"));
}

TEST_P(CliTargetTest, ListsCollections) {
  EXPECT_EQ(Run({"list"}).out, "");
  ASSERT_EQ(Run({"create", "b", "--dim", "7", "--metric", "l2"}).code, 0);
  ASSERT_EQ(Run({"create", "a", "--dim", "3", "--metric", "ip", "--vector", "t:5:cosine:f16"}).code,
            0);
  EXPECT_THAT(Lines(Run({"list"}).out),
              ElementsAre("a  default 3 x f32, ip; t 5 x f16, cosine", "b  default 7 x f32, l2"));
  EXPECT_THAT(
      Lines(Run({"list", "--output", "json"}).out),
      ElementsAre(
          R"({"collection":"a","vectors":[{"field":"","dim":3,"metric":"ip","type":"f32"},)"
          R"({"field":"t","dim":5,"metric":"cosine","type":"f16"}]})",
          R"({"collection":"b","vectors":[{"field":"","dim":7,"metric":"l2","type":"f32"}]})"));
}

TEST_P(CliTargetTest, StatsAsJson) {
  ASSERT_EQ(Run({"create", "c", "--dim", "7", "--metric", "l2"}).code, 0);
  const CliResult result = Run({"stats", "c", "--output", "json"});
  EXPECT_EQ(result.code, 0) << result.err;
  ASSERT_EQ(Lines(result.out).size(), 1u);
  const base::Value::Object stats = JsonObject(result.out);
  EXPECT_EQ(*stats.at("collection").string(), "c");
  EXPECT_EQ(*stats.at("points").integer(), 0);
  const base::Value::Object& memory = *stats.at("memory").object();
  EXPECT_EQ(*memory.at("limit_bytes").integer(), 1 << 30);
  EXPECT_EQ(*memory.at("used_bytes").integer(), 1 << 20);
  EXPECT_GT(*memory.at("resident_bytes").integer(), 0);
  ASSERT_EQ(stats.at("vectors").list()->size(), 1u);
  EXPECT_EQ(stats.at("vectors").list()->front().ToJson(),
            R"({"absorbed_rows":0,"default_nprobe":2,"dim":7,"disk_bytes":2000,"field":"",)"
            R"("fresh_rows":0,"lists":3,"memory_bytes":1000,"metric":"l2","type":"f32"})");
}

TEST_P(CliTargetTest, StatsAsText) {
  ASSERT_EQ(Run({"create", "c", "--dim", "7", "--metric", "l2"}).code, 0);
  const CliResult result = Run({"stats", "c"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("collection c: 0 points"), HasSubstr("7 x f32, l2"),
                                HasSubstr("in 3 lists")));
  EXPECT_EQ(Run({"stats", "c", "--output", "yaml"}).code, 2);
}

TEST_P(CliTargetTest, Drops) {
  ASSERT_EQ(Run({"create", "c", "--dim", "7", "--metric", "l2"}).code, 0);
  const CliResult result = Run({"drop", "c"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "{\"dropped\":\"c\"}\n");
  EXPECT_FALSE(runner_.has_collection("c"));
}

TEST_P(CliTargetTest, UnknownCollectionsFail) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"drop", "nope"},
                                             {"stats", "nope"},
                                             {"get", "nope", "1"},
                                             {"delete", "nope", "1"},
                                             {"search", "nope", "--id", "1"}}) {
    const CliResult result = Run(words);
    EXPECT_EQ(result.code, 1) << words[0];
    EXPECT_THAT(result.err, AllOf(HasSubstr("NOT_FOUND"), HasSubstr("nope"))) << words[0];
    EXPECT_THAT(result.out, IsEmpty()) << words[0];
  }
}

TEST(CliTest, VersionNeedsNoData) {
  CliRunner runner;
  const CliResult result = runner.Run({"version"});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out, std::string("tessera ") + TESSERA_VERSION + "\n");
  EXPECT_EQ(runner.Run({"--version"}).out, result.out);
  EXPECT_EQ(runner.opens(), 0);
}

TEST(CliTest, HelpIsNoFailure) {
  CliRunner runner;
  const CliResult all = runner.Run({"--help"});
  EXPECT_EQ(all.code, 0);
  for (const char* command : {"serve", "create", "ingest", "search", "get", "delete", "stats",
                              "list", "drop", "version"}) {
    EXPECT_THAT(all.out, HasSubstr(command));
    const CliResult one = runner.Run({command, "--help"});
    EXPECT_EQ(one.code, 0) << command;
    EXPECT_THAT(one.err, IsEmpty()) << command;
  }
}

TEST(CliTest, WrongUsageIsExitCode2) {
  CliRunner runner;
  EXPECT_EQ(runner.Run({}).code, 2);
  const CliResult unknown = runner.Run({"explode"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.err, AllOf(HasSubstr("no command \"explode\""), HasSubstr("ingest, search")));
  EXPECT_EQ(runner.Run({"list", "--data", "fake", "--nonsense"}).code, 2);
  EXPECT_EQ(runner.Run({"list"}).code, 2);
  EXPECT_EQ(runner.Run({"list", "--data", "fake", "--server", "h:1"}).code, 2);
  EXPECT_EQ(runner.Run({"list", "--data", "fake", "extra"}).code, 2);
  EXPECT_EQ(runner.Run({"list", "--server", "nowhere"}).code, 2);
  EXPECT_EQ(runner.Run({"list", "--server", "h:0"}).code, 2);
  EXPECT_EQ(runner.Run({"list", "--server", "h:65536"}).code, 2);
  EXPECT_EQ(runner.Run({"list", "--server", "h:1", "--memory-limit", "1GiB"}).code, 2);
  EXPECT_EQ(runner.Run({"version", "--data", "fake"}).code, 2);
  EXPECT_EQ(runner.opens(), 0);
  const CliResult result = runner.Run({"list"});
  EXPECT_THAT(result.out, IsEmpty());
  EXPECT_THAT(result.err, AllOf(HasSubstr("--data"), HasSubstr("--server")));
}

TEST(CliTest, OnlyCreateAndServeMakeADirectory) {
  CliRunner runner;
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"list"},
                                             {"stats", "c"},
                                             {"drop", "c"},
                                             {"get", "c", "1"},
                                             {"delete", "c", "1"},
                                             {"search", "c", "--id", "1"}}) {
    std::vector<std::string> all = words;
    all.insert(all.begin() + 1, {"--data", "absent"});
    EXPECT_EQ(runner.Run(all).code, 1) << words[0];
    EXPECT_FALSE(runner.last_options().create_if_missing) << words[0];
    EXPECT_FALSE(runner.last_options().background_absorb) << words[0];
  }
  EXPECT_EQ(runner.Run({"create", "--data", "absent", "c", "--dim", "2", "--metric", "l2"}).code,
            0);
  EXPECT_TRUE(runner.last_options().create_if_missing);
}

TEST(CliTest, MemoryLimitReachesTheDatabase) {
  CliRunner runner;
  EXPECT_EQ(runner.Run({"list", "--data", "fake"}).code, 0);
  EXPECT_EQ(runner.last_options().memory_limit, 0u);
  EXPECT_EQ(runner.Run({"list", "--data", "fake", "--memory-limit", "768MiB"}).code, 0);
  EXPECT_EQ(runner.last_options().memory_limit, uint64_t{768} << 20);
  ASSERT_EQ(::setenv("TESSERA_MEMORY_LIMIT", "512MiB", 1), 0);
  EXPECT_EQ(runner.Run({"list", "--data", "fake"}).code, 0);
  EXPECT_EQ(runner.last_options().memory_limit, uint64_t{512} << 20);
  EXPECT_EQ(runner.Run({"list", "--data", "fake", "--memory-limit", "768MiB"}).code, 0);
  EXPECT_EQ(runner.last_options().memory_limit, uint64_t{768} << 20);
  ASSERT_EQ(::setenv("TESSERA_MEMORY_LIMIT", "plenty", 1), 0);
  const CliResult result = runner.Run({"list", "--data", "fake"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, AllOf(HasSubstr("TESSERA_MEMORY_LIMIT"), HasSubstr("plenty")));
  ASSERT_EQ(::unsetenv("TESSERA_MEMORY_LIMIT"), 0);
}

TEST(CliTest, MemoryLimitBelowTheFloorIsRefused) {
  CliRunner runner;
  const CliResult result = runner.Run({"list", "--data", "fake", "--memory-limit", "1MiB"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, AllOf(HasSubstr("1MiB"), HasSubstr("at least 128MiB")));
  EXPECT_EQ(runner.Run({"list", "--data", "fake", "--memory-limit", "much"}).code, 2);
  EXPECT_EQ(runner.opens(), 0);
}

TEST(CliTest, ADirectoryThatCannotBeOpenedFails) {
  CliRunner runner;
  runner.open_error = absl::FailedPreconditionError("locked by process 17");
  const CliResult result = runner.Run({"list", "--data", "fake"});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.err, "tessera: FAILED_PRECONDITION: locked by process 17\n");
}

TEST(CliTest, CommandsThatReadOpenADirectoryThatCannotBeWrittenTo) {
  CliRunner runner;
  runner.open_error = absl::PermissionDeniedError("open fake/LOCK: read-only file system");
  int opens = 0;
  for (const std::vector<std::string>& command : {std::vector<std::string>{"list"},
                                                  {"stats", "c"},
                                                  {"count", "c"},
                                                  {"scroll", "c"},
                                                  {"export", "c"},
                                                  {"get", "c", "1"},
                                                  {"search", "c", "--id", "1"}}) {
    std::vector<std::string> words = command;
    words.insert(words.end(), {"--data", "fake"});
    EXPECT_EQ(runner.Run(words).code, 1) << command[0];
    EXPECT_EQ(runner.opens(), opens += 2) << command[0];
    EXPECT_TRUE(runner.last_options().read_only) << command[0];
  }
  EXPECT_EQ(runner.Run({"drop", "c", "--data", "fake"}).code, 1);
  EXPECT_EQ(runner.opens(), opens + 1);
  EXPECT_FALSE(runner.last_options().read_only);
}

TEST(CliTest, AServerThatIsNotThereFails) {
  CliRunner runner;
  std::string address;
  {
    const FakeServer server(runner);
    address = server.address();
  }
  const CliResult result = runner.Run({"list", "--server", address});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("UNAVAILABLE"));
}

}  // namespace
}  // namespace tessera::api
