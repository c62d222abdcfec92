// search: files of queries whatever their size, and thresholds.
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/api/cli/target_test.h"

namespace tessera::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CliQueriesTest : public CliTargetTest {
 protected:
  CliQueriesTest() {
    Create("c", {"--dim", "1", "--metric", "l2"});
    Run("ingest", "c", {dir_.Write("v.fbin", FbinOfRows(3, 1))});
  }
  CliResult Search(const std::vector<std::string>& words) { return Run("search", "c", words); }
};

INSTANTIATE_TEST_SUITE_P(Targets, CliQueriesTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "Server" : "Data"; });

TEST_P(CliQueriesTest, ASmallFileThatSaysOrUnpacksToTooManyQueriesIsRefused) {
  const std::string header = LittleU32(1'000'001) + LittleU32(1);
  const std::string bomb = Gzip(header + std::string(4'000'004, '\0'));
  EXPECT_LT(bomb.size(), 10'000u);
  const CliResult told = Search({"--queries", dir_.Write("q.fbin.gz", bomb)});
  EXPECT_EQ(told.code, 1);
  EXPECT_THAT(told.err, AllOf(HasSubstr("q.fbin.gz: has 1000001 queries"), HasSubstr("1000000"),
                              HasSubstr("split the file")));
  std::string rows;
  for (int i = 0; i < 1'000'001; ++i) rows += LittleU32(1) + LittleU32(0);
  const CliResult untold = Search({"--queries", dir_.Write("q.fvecs.gz", Gzip(rows))});
  EXPECT_EQ(untold.code, 1);
  EXPECT_THAT(untold.err, AllOf(HasSubstr("q.fvecs.gz: has 1000001 or more queries")));
  EXPECT_EQ(runner_.collection("c")->searches_waiting, 0);  // before the first search
}

TEST_P(CliQueriesTest, AnswersThatWouldNotFitAreRefusedBeforeTheFirstSearch) {
  const std::string queries =
      dir_.Write("q.fbin", LittleU32(20'000) + LittleU32(1) + std::string(80'000, '\0'));
  const CliResult result =
      Search({"--queries", queries, "--limit", "10000", "--output", dir_.PathOf("out")});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, AllOf(HasSubstr("RESOURCE_EXHAUSTED"), HasSubstr("smaller --limit")));
  EXPECT_EQ(runner_.collection("c")->searches_waiting, 0);
}

TEST_P(CliQueriesTest, PortionsMakeOneAnswer) {
  // 64 MiB of answers at 10,000 hits are about 500 queries, with payload the first are 4.
  std::vector<float> rows;
  for (int i = 0; i < 600; ++i) rows.push_back(static_cast<float>(i % 3) + 0.25F);
  const std::string queries =
      dir_.Write("q.fbin", LittleU32(600) + LittleU32(1) + FloatBytes(rows));
  const std::string output = dir_.PathOf("out");
  const CliResult raw = Search({"--queries", queries, "--limit", "10000", "--output", output});
  EXPECT_EQ(raw.code, 0) << raw.err;
  EXPECT_EQ(*JsonObject(raw.out).at("count").integer(), 600);
  const std::string bytes = ReadWholeFile(output);
  ASSERT_EQ(bytes.size(), 8 + 600 * 10'000 * 8u);
  for (uint32_t i = 0; i < 600; ++i) {
    ASSERT_EQ(bytes.substr(8 + i * 40'000, 4), LittleU32(i % 3)) << i;
  }
  const CliResult lines = Search(
      {"--queries", queries, "--limit", "1", "--with-payload", "--output", "-", "--threads", "3"});
  EXPECT_EQ(lines.code, 0) << lines.err;
  const std::vector<std::string> answers = Lines(lines.out);
  ASSERT_EQ(answers.size(), 600u);
  for (size_t i = 0; i < answers.size(); ++i) {
    EXPECT_EQ(answers[i], absl::StrCat(R"({"query":)", i, R"(,"hits":[{"id":)", i % 3,
                                       R"(,"score":-0,"distance":0,"payload":null}]})"));
  }
}

TEST_P(CliQueriesTest, ADamagedFileIsKnownBeforeTheFirstSearch) {
  const std::string good = Gzip(FbinOfRows(5000, 1));
  const CliResult result =
      Search({"--queries", dir_.Write("q.fbin.gz", good.substr(0, good.size() - 5))});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("q.fbin.gz"));
  EXPECT_EQ(runner_.collection("c")->searches_waiting, 0);
}

TEST_P(CliQueriesTest, AThresholdThatNothingReachesIsExplained) {
  const std::string queries = dir_.Write("q.fbin", FbinOfRows(2, 1));
  for (const std::vector<std::string>& from :
       std::vector<std::vector<std::string>>{{"--queries", queries}, {"--id", "1"}}) {
    std::vector<std::string> words = from;
    words.insert(words.end(), {"--score-threshold", "0.5"});
    const CliResult positive = Search(words);
    EXPECT_EQ(positive.code, 1);
    EXPECT_THAT(positive.err, AllOf(HasSubstr("minus the squared distance"), HasSubstr("-D*D")));
  }
  const std::string far = dir_.Write("far.fbin", LittleU32(1) + LittleU32(1) + FloatBytes({9}));
  const CliResult none = Search({"--queries", far, "--score-threshold", "-1"});
  EXPECT_EQ(none.code, 0);
  EXPECT_THAT(none.err, HasSubstr("no point has a score of -1 or more; under l2 it is minus the "
                                  "squared distance"));
  const CliResult some = Search({"--queries", queries, "--score-threshold", "-1"});
  EXPECT_THAT(some.err, IsEmpty());
  Create("k", {"--dim", "1", "--metric", "cosine"});
  const CliResult cosine = Run("search", "k", {"--queries", queries, "--score-threshold", "1.5"});
  EXPECT_EQ(cosine.code, 1);
  EXPECT_THAT(cosine.err, HasSubstr("the cosine"));
  EXPECT_THAT(runner_.Run({"search", "--help"}).out, HasSubstr("minus the squared distance"));
}

TEST_P(CliQueriesTest, OtherKindsOfFilesAreNamed) {
  const std::string npy = dir_.Write("q.npy", "\x93NUMPY\x01 {'descr': '<f4'}");
  EXPECT_THAT(Search({"--queries", npy}).err, HasSubstr("q.npy: is a NumPy array"));
  EXPECT_THAT(Search({"--queries", npy, "--format", "fvecs"}).err, HasSubstr("is a NumPy array"));
  const std::string idx = std::string("\0\0\x08\x02", 4) + BigU32(1) + BigU32(1) + "\x02";
  EXPECT_EQ(Search({"--queries", dir_.Write("queries", idx)}).code, 0);
}

}  // namespace
}  // namespace tessera::api
