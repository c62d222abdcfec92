// search: answers, their layouts, the times line and failures.
#include <atomic>
#include <filesystem>
#include <limits>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "api/cli/search_run.h"
#include "base/check.h"
#include "tests/api/cli_runner.h"
#include "tests/api/files.h"
#include "tests/support/status_matchers.h"

namespace tessera::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class CliSearchTest : public testing::TestWithParam<bool> {
 protected:
  CliSearchTest() {
    if (GetParam()) server_ = std::make_unique<FakeServer>(runner_);
    runner_.Run({"create", "--data", "fake", "c", "--dim", "1", "--metric", "l2"});
    Add("10", 0);
    Add("4294967294", 3);
    Add("20", 10);
    queries_ = dir_.Write("q.fbin", LittleU32(2) + LittleU32(1) + FloatBytes({1, 9}));
    output_ = dir_.PathOf("answers");
  }

  void Add(const std::string& id, float x) {
    base::Value::Object payload;
    payload.emplace("x", base::Value(double{x}));
    TESSERA_CHECK(runner_.collection("c")
                      ->Upsert({{.id = *base::PointId::Parse(id),
                                 .vectors = {{"", FloatBytes({x})}},
                                 .payload = base::Value(payload)}},
                               db::Ack::kWal)
                      .ok());
  }

  CliResult Search(const std::vector<std::string>& words) {
    std::vector<std::string> all = {"search", GetParam() ? "--server" : "--data",
                                    GetParam() ? server_->address() : "fake", "c"};
    all.insert(all.end(), words.begin(), words.end());
    return runner_.Run(all);
  }

  CliRunner runner_;
  std::unique_ptr<FakeServer> server_;
  InputDir dir_;
  std::string queries_;
  std::string output_;
};

INSTANTIATE_TEST_SUITE_P(Targets, CliSearchTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "Server" : "Data"; });

TEST_P(CliSearchTest, WritesTheGroundTruthLayout) {
  const CliResult result = Search({"--queries", queries_, "--limit", "2", "--output", output_});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(ReadWholeFile(output_), LittleU32(2) + LittleU32(2) + LittleU32(10) +
                                        LittleU32(4294967294) + LittleU32(20) +
                                        LittleU32(4294967294) + FloatBytes({1, 4, 1, 36}));
}

TEST_P(CliSearchTest, PadsLinesThatHaveFewerHits) {
  const CliResult result = Search({"--queries", queries_, "--limit", "4", "--output", output_});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(ReadWholeFile(output_),
            LittleU32(2) + LittleU32(4) + LittleU32(10) + LittleU32(4294967294) + LittleU32(20) +
                LittleU32(0xffffffff) + LittleU32(20) + LittleU32(4294967294) + LittleU32(10) +
                LittleU32(0xffffffff) + FloatBytes({1, 4, 81, kInfinity, 1, 36, 81, kInfinity}));
}

TEST_P(CliSearchTest, AnswersGoToStdoutWhenAskedFor) {
  ASSERT_EQ(Search({"--queries", queries_, "--limit", "2", "--output", output_}).code, 0);
  const CliResult result = Search({"--queries", queries_, "--limit", "2", "--output", "-"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, ReadWholeFile(output_));
  ASSERT_EQ(Lines(result.err).size(), 1u);
  EXPECT_EQ(*JsonObject(result.err).at("count").integer(), 2);
}

TEST_P(CliSearchTest, PrintsTheTimes) {
  const CliResult result = Search({"--queries", queries_, "--limit", "2", "--output", output_});
  ASSERT_EQ(Lines(result.out).size(), 1u);
  const base::Value::Object line = JsonObject(result.out);
  EXPECT_EQ(*line.at("count").integer(), 2);
  EXPECT_GT(std::stod(line.at("seconds").ToJson()), 0);
  EXPECT_GT(std::stod(line.at("qps").ToJson()), 0);
  EXPECT_GT(std::stod(line.at("p50_us").ToJson()), 0);
  EXPECT_GE(std::stod(line.at("p99_us").ToJson()), std::stod(line.at("p50_us").ToJson()));
  EXPECT_GT(*line.at("memory_bytes").integer(), 100'000);
  EXPECT_THAT(result.err, IsEmpty());
}

TEST_P(CliSearchTest, WritesJsonLinesWhenAnIdDoesNotFit) {
  Add("4294967295", 1000);
  const CliResult result = Search({"--queries", queries_, "--limit", "4", "--output", output_});
  EXPECT_EQ(result.code, 0) << result.err;
  const std::vector<std::string> lines = Lines(ReadWholeFile(output_));
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[1],
            R"({"query":1,"hits":[{"id":20,"score":-1,"distance":1},)"
            R"({"id":4294967294,"score":-36,"distance":36},{"id":10,"score":-81,"distance":81},)"
            R"({"id":4294967295,"score":-982081,"distance":982081}]})");
}

TEST_P(CliSearchTest, OneQueryWithOtherIdsMakesAllJsonLines) {
  Add("a b", 9);
  const CliResult result = Search({"--queries", queries_, "--limit", "1", "--output", output_});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(ReadWholeFile(output_),
            "{\"query\":0,\"hits\":[{\"id\":10,\"score\":-1,\"distance\":1}]}\n"
            "{\"query\":1,\"hits\":[{\"id\":\"a b\",\"score\":-0,\"distance\":0}]}\n");
}

TEST_P(CliSearchTest, WithPayloadWritesJsonLines) {
  const CliResult result =
      Search({"--queries", queries_, "--limit", "1", "--output", output_, "--with-payload"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(Lines(ReadWholeFile(output_))[0],
            R"({"query":0,"hits":[{"id":10,"score":-1,"distance":1,"payload":{"x":0.0}}]})");
}

TEST_P(CliSearchTest, NeedsNoOutput) {
  const CliResult result = Search({"--queries", queries_});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(*JsonObject(result.out).at("count").integer(), 2);
  EXPECT_EQ(runner_.collection("c")->last_params().limit, 10u);
}

TEST_P(CliSearchTest, PassesTheParametersOn) {
  ASSERT_EQ(Search({"--queries", queries_, "--recall-target", "0.5", "--oversampling", "3.5",
                    "--score-threshold", "-5"})
                .code,
            0);
  db::SearchParams params = runner_.collection("c")->last_params();
  EXPECT_EQ(params.recall_target, 0.5);
  EXPECT_EQ(params.oversampling, 3.5);
  EXPECT_EQ(params.score_threshold, -5);
  EXPECT_FALSE(params.exact);
  ASSERT_EQ(Search({"--queries", queries_, "--nprobe", "7"}).code, 0);
  params = runner_.collection("c")->last_params();
  EXPECT_EQ(params.nprobe, 7u);
  EXPECT_EQ(params.recall_target, 0);
  ASSERT_EQ(Search({"--queries", queries_, "--exact"}).code, 0);
  EXPECT_TRUE(runner_.collection("c")->last_params().exact);
}

TEST_P(CliSearchTest, KeepsSeveralSearchesInFlight) {
  std::string rows;
  for (int i = 0; i < 6; ++i) rows += FloatBytes({static_cast<float>(i)});
  const std::string queries = dir_.Write("six.fbin", LittleU32(6) + LittleU32(1) + rows);
  const std::shared_ptr<FakeCollection> collection = runner_.collection("c");
  collection->search_gate_closed = true;
  CliResult result;
  std::atomic<bool> ended = false;
  std::thread searcher([&] {
    result = Search({"--queries", queries, "--limit", "1", "--threads", "3", "--output", output_});
    ended = true;
  });
  while (collection->searches_waiting < 3 && !ended) std::this_thread::yield();
  EXPECT_FALSE(ended);
  collection->search_gate_closed = false;
  searcher.join();
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(ReadWholeFile(output_), LittleU32(6) + LittleU32(1) + LittleU32(10) + LittleU32(10) +
                                        LittleU32(4294967294) + LittleU32(4294967294) +
                                        LittleU32(4294967294) + LittleU32(4294967294) +
                                        FloatBytes({0, 1, 1, 0, 1, 4}));
}

TEST_P(CliSearchTest, ReadsQueriesOfOtherTypesFromStdin) {
  std::vector<std::string> words = {"search",
                                    GetParam() ? "--server" : "--data",
                                    GetParam() ? server_->address() : "fake",
                                    "c",
                                    "--queries",
                                    "-",
                                    "--format",
                                    "u8bin",
                                    "--limit",
                                    "1",
                                    "--output",
                                    output_};
  const CliResult result = runner_.RunOnStdin(Gzip(LittleU32(1) + LittleU32(1) + "\x0c"), words);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(ReadWholeFile(output_), LittleU32(1) + LittleU32(1) + LittleU32(20) + FloatBytes({4}));
}

TEST_P(CliSearchTest, NoQueriesMakeAnEmptyAnswer) {
  const CliResult result =
      Search({"--queries", dir_.Write("none.fbin", LittleU32(0) + LittleU32(1)), "--limit", "5",
              "--output", output_});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(ReadWholeFile(output_), LittleU32(0) + LittleU32(5));
}

TEST_P(CliSearchTest, PrintsTheNeighboursOfAPoint) {
  const CliResult result = Search({"--id", "10", "--limit", "5"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out,
            "{\"id\":4294967294,\"score\":-9,\"distance\":9}\n"
            "{\"id\":20,\"score\":-100,\"distance\":100}\n");
  EXPECT_EQ(Search({"--id", "10", "--limit", "1", "--with-payload"}).out,
            "{\"id\":4294967294,\"score\":-9,\"distance\":9,\"payload\":{\"x\":3.0}}\n");
  const CliResult absent = Search({"--id", "11"});
  EXPECT_EQ(absent.code, 1);
  EXPECT_THAT(absent.err, AllOf(HasSubstr("NOT_FOUND"), HasSubstr("11")));
}

TEST_P(CliSearchTest, SearchesANamedField) {
  runner_.Run({"create", "--data", "fake", "d", "--vector", "t:1:l2"});
  TESSERA_CHECK(runner_.collection("d")
                    ->Upsert({{.id = base::PointId(uint64_t{1}),
                               .vectors = {{"t", FloatBytes({1})}},
                               .payload = {}}},
                             db::Ack::kWal)
                    .ok());
  for (const std::vector<std::string>& field :
       std::vector<std::vector<std::string>>{{}, {"--field", "t"}}) {
    std::vector<std::string> words = {"search", "--data", "fake", "d", "--queries", queries_};
    words.insert(words.end(), field.begin(), field.end());
    EXPECT_EQ(runner_.Run(words).code, 0);
    EXPECT_EQ(runner_.collection("d")->last_params().field, "t");
  }
  const CliResult wrong = Search({"--queries", queries_, "--field", "t"});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.err, HasSubstr("no vector field \"t\""));
}

TEST_P(CliSearchTest, FailuresLeaveNoOutput) {
  EXPECT_EQ(Search({"--queries", dir_.PathOf("absent.fbin"), "--output", output_}).code, 1);
  const CliResult dim =
      Search({"--queries", dir_.Write("d.fbin", FbinOfRows(2, 3)), "--output", output_});
  EXPECT_EQ(dim.code, 1);
  EXPECT_THAT(dim.err, AllOf(HasSubstr("d.fbin"), HasSubstr("dimension 3"), HasSubstr("have 1")));
  const CliResult nowhere = Search({"--queries", queries_, "--output", dir_.PathOf("no/such/dir")});
  EXPECT_EQ(nowhere.code, 1);
  EXPECT_THAT(nowhere.err, HasSubstr("no/such/dir"));
  EXPECT_EQ(runner_.collection("c")->searches_waiting, 0);
  const std::string cut = ReadWholeFile(queries_);
  EXPECT_EQ(Search({"--queries", dir_.Write("cut.fbin", cut.substr(0, cut.size() - 1)), "--output",
                    output_})
                .code,
            1);
  // An answer of an earlier run is not replaced by a run that fails.
  const std::string old = dir_.Write("old", "earlier answer");
  const std::string nan =
      dir_.Write("n.fbin", LittleU32(1) + LittleU32(1) +
                               FloatBytes({std::numeric_limits<float>::quiet_NaN()}));
  const CliResult failed = Search({"--queries", nan, "--output", old});
  EXPECT_EQ(failed.code, 1);
  EXPECT_THAT(failed.err, HasSubstr("n.fbin: row 0: component 0"));
  EXPECT_EQ(ReadWholeFile(old), "earlier answer");
  EXPECT_FALSE(std::filesystem::exists(output_));
  for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
    EXPECT_EQ(entry.path().string().find("partial"), std::string::npos) << entry.path();
  }
}

TEST_P(CliSearchTest, AFailureInTheMiddleLeavesTheOldAnswers) {
  const std::string old = dir_.Write("old", "earlier answer");
  const std::shared_ptr<FakeCollection> collection = runner_.collection("c");
  collection->search_gate_closed = true;
  CliResult result;
  std::thread searcher([&] { result = Search({"--queries", queries_, "--output", old}); });
  while (collection->searches_waiting < 1) std::this_thread::yield();
  ASSERT_OK(FakeDatabase(runner_.state()).DropCollection("c"));
  collection->search_gate_closed = false;
  searcher.join();
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("NOT_FOUND"), HasSubstr("query 1")));
  EXPECT_THAT(result.out, IsEmpty());
  EXPECT_EQ(ReadWholeFile(old), "earlier answer");
}

TEST_P(CliSearchTest, WritesToWhatIsNoRegularFileAsItIs) {
  const CliResult result = Search({"--queries", queries_, "--output", "/dev/null"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST_P(CliSearchTest, WrongUsage) {
  EXPECT_EQ(Search({}).code, 2);
  EXPECT_EQ(Search({"--queries", queries_, "--id", "1"}).code, 2);
  EXPECT_EQ(Search({"--id", "1", "--output", output_}).code, 2);
  EXPECT_EQ(Search({"--queries", queries_, "--limit", "0"}).code, 2);
  EXPECT_EQ(Search({"--queries", queries_, "--limit", "10001"}).code, 2);
  EXPECT_EQ(Search({"--queries", queries_, "--limit", "ten"}).code, 2);
  EXPECT_EQ(Search({"--queries", queries_, "--recall-target", "0"}).code, 2);
  EXPECT_EQ(Search({"--queries", queries_, "--recall-target", "1"}).code, 2);
  EXPECT_EQ(Search({"--queries", queries_, "--recall-target", "nan"}).code, 2);
  EXPECT_EQ(Search({"--queries", queries_, "--nprobe", "0"}).code, 2);
  EXPECT_EQ(Search({"--queries", queries_, "--nprobe", "-1"}).code, 2);
  EXPECT_EQ(Search({"--queries", queries_, "--oversampling", "0.5"}).code, 2);
  EXPECT_EQ(Search({"--queries", queries_, "--exact", "--nprobe", "2"}).code, 2);
  EXPECT_EQ(Search({"--queries", queries_, "--exact", "--recall-target", "0.9"}).code, 2);
  EXPECT_EQ(Search({"--queries", queries_, "--threads", "0"}).code, 2);
  EXPECT_EQ(Search({"--queries", dir_.Write("noending", "x")}).code, 2);
  EXPECT_EQ(Search({"--queries", queries_, "--format", "npy"}).code, 2);
}

TEST(PercentileTest, IsTheNearestRank) {
  std::vector<float> values;
  for (int i = 1; i <= 200; ++i) values.push_back(static_cast<float>(i));
  EXPECT_EQ(Percentile(values, 0.5), 100);
  EXPECT_EQ(Percentile(values, 0.99), 198);
  EXPECT_EQ(Percentile(values, 1), 200);
  EXPECT_EQ(Percentile(values, 0), 1);
  EXPECT_EQ(Percentile(std::vector<float>{7}, 0.5), 7);
  EXPECT_EQ(Percentile({}, 0.5), 0);
}

}  // namespace
}  // namespace tessera::api
