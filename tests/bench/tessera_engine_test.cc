// Tessera through the suite, in process and as a server: loaded, searched, reopened and described.
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/strings.h"
#include "bench/ann.h"
#include "bench/engines/tessera_common.h"
#include "tests/bench/vector_data.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::bench {
namespace {

using testing::HasSubstr;

constexpr uint32_t kDim = 24;
constexpr uint32_t kRows = 3000;
constexpr uint32_t kQueries = 100;

struct EngineCase {
  const char* engine;
  base::Metric metric;
};

class TesseraEngineTest : public testing::TestWithParam<EngineCase> {};

TEST_P(TesseraEngineTest, LoadsAnswersAndReopens) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(absl::StrCat("TESSERA_TEST_SEED=", seed));
  std::mt19937_64 rng(seed);
  const std::vector<float> rows = ClusteredRows(rng, kRows + kQueries, kDim);
  TempDir dir;
  WriteFile(dir.File("base.fbin"),
            FbinBytes(kRows, kDim, {rows.begin(), rows.begin() + kRows * kDim}));
  WriteFile(dir.File("query.fbin"),
            FbinBytes(kQueries, kDim, {rows.begin() + kRows * kDim, rows.end()}));
  AnnOptions options;
  options.metric = GetParam().metric;
  ASSERT_OK(FindSet(dir.File(""), &options));
  options.work_dir = dir.File("");
  options.server_binary = TESSERA_SERVER_BINARY;
  options.memory_limit = uint64_t{256} << 20;
  options.build_threads = 1;
  options.passes = 1;
  options.pass_seconds = 0;
  options.cold = true;
  options.engines = {GetParam().engine};
  options.points[GetParam().engine] = {
      {}, {{"nprobe", 1000}, {"oversampling", 50}}, {{"exact", 1}}};

  std::vector<Result> results;
  ASSERT_OK(RunAnn(
      options, [&](const Result& result) { results.push_back(result); },
      [](const std::string&) {}));
  ASSERT_EQ(results.size(), 6U);  // each point warm and cold
  for (size_t i = 0; i < results.size(); ++i) {
    const Result& result = results[i];
    EXPECT_EQ(result.cache, i % 2 == 0 ? "warm" : "cold");
    EXPECT_EQ(result.engine, GetParam().engine);
    EXPECT_EQ(result.memory_limit, options.memory_limit);
    EXPECT_GT(result.qps_1, 0);
    EXPECT_GT(result.open_seconds, 0);
    EXPECT_GT(result.disk_bytes, kRows * kDim * sizeof(float));
    EXPECT_GT(result.resident_bytes, 0U);
    EXPECT_GE(result.peak_bytes, result.resident_bytes);
    EXPECT_GT(result.accounted_bytes, 0U);
    EXPECT_LE(result.accounted_bytes, options.memory_limit);
    EXPECT_THAT(result.description, HasSubstr("256"));
  }
  EXPECT_GE(results[0].recall, 0.9) << "the defaults";
  EXPECT_GE(results[2].recall, 0.995) << "every list, and nearly every row compared";
  EXPECT_EQ(results[4].recall, 1) << "exact";
}

INSTANTIATE_TEST_SUITE_P(Engines, TesseraEngineTest,
                         testing::Values(EngineCase{"tessera", base::Metric::kL2},
                                         EngineCase{"tessera", base::Metric::kInnerProduct},
                                         EngineCase{"tessera", base::Metric::kCosine},
                                         EngineCase{"tessera_grpc", base::Metric::kL2}),
                         [](const auto& param) {
                           return absl::StrCat(param.param.engine, "_",
                                               base::Sv(base::ToString(param.param.metric)));
                         });

TEST(TesseraParams, KnowsItsSettingsOnly) {
  const auto params =
      TesseraParams({{"nprobe", 7}, {"oversampling", 1.5}, {"recall_target", 0.9}}, 20);
  ASSERT_OK(params);
  EXPECT_EQ(params->limit, 20U);
  EXPECT_EQ(params->nprobe, 7U);
  EXPECT_EQ(params->oversampling, 1.5);
  EXPECT_EQ(params->recall_target, 0.9);
  EXPECT_FALSE(params->exact);
  EXPECT_EQ(TesseraParams({{"ef", 7}}, 20).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(TesseraSweep, BeginsWithTheDefaults) {
  EXPECT_EQ(TesseraSweep().front(), SearchPoint{});
  for (const SearchPoint& point : TesseraSweep()) EXPECT_OK(TesseraParams(point, 10));
}

}  // namespace
}  // namespace tessera::bench
