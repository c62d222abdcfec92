#include "bench/result.h"

#include "gtest/gtest.h"

#include "tests/bench/vector_data.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::bench {
namespace {

TEST(Result, SurvivesItsJsonLine) {
  Result result;
  result.dataset = "glove \"100\"\n";
  result.engine = "hnswlib";
  result.params = {{"ef", 64}, {"x", 0.5}};
  result.rows = uint64_t{1} << 40;
  result.recall = 0.951234567;
  result.qps_1 = 12345.5;
  result.cache = "warm";
  const std::string line = ToJsonLine(result);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto read = ParseJsonLine(line);
  ASSERT_OK(read);
  EXPECT_EQ(read->dataset, result.dataset);
  EXPECT_EQ(read->params, result.params);
  EXPECT_EQ(read->rows, result.rows);
  EXPECT_EQ(read->recall, result.recall);
  EXPECT_EQ(ToJsonLine(*read), line);
}

TEST(Result, ABadLineIsReportedByNumber) {
  TempDir dir;
  WriteFile(dir.File("r.jsonl"), ToJsonLine(Result{}) + "\n\n{\"dataset\": 1}\n");
  const auto read = ReadResults(dir.File("r.jsonl"));
  EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(read.status().message().find(":3:"), absl::string_view::npos) << read.status();
  EXPECT_EQ(ReadResults(dir.File("none")).status().code(), absl::StatusCode::kNotFound);
}

TEST(Result, PointsHaveNames) {
  EXPECT_EQ(PointName({}), "defaults");
  EXPECT_EQ(PointName({{"nprobe", 32}, {"k_factor", 2.5}}), "k_factor=2.5 nprobe=32");
}

}  // namespace
}  // namespace tessera::bench
