// The whole suite on 2,000 rows: every peer is built, measured and described.
#include "bench/ann.h"

#include <filesystem>
#include <random>

#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "bench/engines/engines.h"
#include "bench/measure.h"
#include "bench/worker.h"
#include "tests/bench/vector_data.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint32_t kDim = 16;

AnnOptions SmallSet(const TempDir& dir) {
  std::mt19937_64 rng(3);
  const std::vector<float> rows = ClusteredRows(rng, 2050, kDim);
  const std::vector<float> base(rows.begin(), rows.begin() + 2000 * kDim);
  const std::vector<float> queries(rows.begin() + 2000 * kDim, rows.end());
  WriteFile(dir.File("base.fbin"), FbinBytes(2000, kDim, base));
  WriteFile(dir.File("query.fbin"), FbinBytes(50, kDim, queries));
  AnnOptions options;
  options.work_dir = dir.File("");
  options.build_threads = 1;
  options.passes = 2;
  options.pass_seconds = 0;
  options.commit = "abc";
  return options;
}

std::vector<Result> MustRun(const AnnOptions& options) {
  std::vector<Result> results;
  const absl::Status status = RunAnn(
      options, [&](const Result& result) { results.push_back(result); }, [](const std::string&) {});
  EXPECT_OK(status);
  return results;
}

TEST(Ann, MeasuresEveryPeerInOneRun) {
  TempDir dir;
  AnnOptions options = SmallSet(dir);
  ASSERT_OK(FindSet(dir.File(""), &options));
  EXPECT_TRUE(options.truth_path.empty());
  options.engines = {"hnswlib", "faiss-ivfpqfs"};
  options.points["hnswlib"] = {{{"ef", 10}}, {{"ef", 400}}};
  options.points["faiss-ivfpqfs"] = {{{"nprobe", 60}, {"k_factor", 20}}};
  const std::vector<Result> results = MustRun(options);
  ASSERT_EQ(results.size(), 3U);
  EXPECT_GE(results[1].recall, 0.99);
  EXPECT_GE(results[1].recall, results[0].recall);
  EXPECT_GE(results[2].recall, 0.95);
  for (const Result& result : results) {
    EXPECT_EQ(result.rows, 2000U);
    EXPECT_EQ(result.dim, kDim);
    EXPECT_EQ(result.queries, 50U);
    EXPECT_EQ(result.metric, "l2");
    EXPECT_EQ(result.cache, "warm");
    EXPECT_EQ(result.commit, "abc");
    EXPECT_GT(result.build_seconds, 0);
    EXPECT_GT(result.qps_1, 0);
    EXPECT_GT(result.qps_2, 0);
    EXPECT_GT(result.p50_us, 0);
    EXPECT_LE(result.p50_us, result.p95_us);
    EXPECT_LE(result.p95_us, result.p99_us);
    EXPECT_FALSE(result.cpu.empty());
  }
  EXPECT_THAT(results[2].description, HasSubstr("generic"));
}

TEST(Ann, FindsTheFilesOfASetByTheirUsualNames) {
  TempDir dir;
  const std::vector<std::pair<std::string, std::string>> pairs = {
      {"base.f16bin", "query.f16bin"},
      {"sift_base.fvecs", "sift_query.fvecs"},
      {"train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"}};
  for (const auto& [base, query] : pairs) {
    const std::string set = dir.File(base) + ".set";
    std::filesystem::create_directory(set);
    for (const std::string& name : {base, query, std::string("readme"), std::string("gt100_l2.bin"),
                                    std::string("train-labels-idx1-ubyte.gz")}) {
      WriteFile(set + "/" + name, "");
    }
    AnnOptions options;
    ASSERT_OK(FindSet(set, &options));
    EXPECT_EQ(options.base_path, set + "/" + base);
    EXPECT_EQ(options.query_path, set + "/" + query);
    EXPECT_EQ(options.truth_path, set + "/gt100_l2.bin");
    EXPECT_EQ(options.dataset, base + ".set-l2");
  }
}

TEST(Ann, PartOfTheRowsHasATruthOfItsOwn) {
  TempDir dir;
  AnnOptions options = SmallSet(dir);
  ASSERT_OK(FindSet(dir.File(""), &options));
  options.engines = {"hnswlib"};
  options.points["hnswlib"] = {{{"ef", 500}}};
  options.rows_max = 700;
  options.query_max = 20;
  options.threads = {1};
  const std::vector<Result> results = MustRun(options);
  ASSERT_EQ(results.size(), 1U);
  EXPECT_EQ(results[0].rows, 700U);
  EXPECT_EQ(results[0].queries, 20U);
  EXPECT_GE(results[0].recall, 0.99);
  EXPECT_EQ(results[0].qps_2, 0);
}

TEST(Ann, WrongInputIsAnAnswer) {
  TempDir dir;
  AnnOptions options = SmallSet(dir);
  EXPECT_EQ(FindSet(dir.File("none"), &options).code(), absl::StatusCode::kNotFound);
  ASSERT_OK(FindSet(dir.File(""), &options));
  options.engines = {"abacus"};
  const auto ignore = [](const auto&) {};
  EXPECT_EQ(RunAnn(options, ignore, ignore).code(), absl::StatusCode::kInvalidArgument);
  options.engines = {"hnswlib"};
  options.points["hnswlib"] = {{{"magic", 1}}};
  EXPECT_EQ(RunAnn(options, ignore, ignore).code(), absl::StatusCode::kInvalidArgument);
}

// An engine that dies in the middle of a search.
class CrashingEngine : public Engine {
 public:
  std::string name() const override { return "crashing"; }
  std::string description() const override { return "dies"; }
  absl::Status Build(const VectorFile&) override { return absl::OkStatus(); }
  std::vector<SearchPoint> DefaultSweep() const override { return {{}}; }
  absl::Status Configure(const SearchPoint&) override { return absl::OkStatus(); }
  absl::Status Search(std::span<const float>, std::vector<uint64_t>*) override { _exit(3); }
};

TEST(Worker, AnEngineThatDiesIsAnAnswer) {
  TempDir dir;
  WriteFile(dir.File("base.fbin"), FbinBytes(1, 1, {0}));
  const auto base = VectorFile::Open(dir.File("base.fbin"));
  ASSERT_OK(base);
  auto worker = Worker::Start([] { return std::make_unique<CrashingEngine>(); }, **base, {1.0F});
  ASSERT_OK(worker);
  ASSERT_OK((*worker)->Build());
  EXPECT_EQ((*worker)->MakeCold().status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ((*worker)->Answers({}).status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ((*worker)->Memory().status().code(), absl::StatusCode::kInternal);
}

TEST(Points, AreParsedIntoAllCombinations) {
  const auto points = ParsePoints("nprobe=8,16;k_factor=4");
  ASSERT_OK(points);
  EXPECT_THAT(*points, ElementsAre(SearchPoint{{"nprobe", 8}, {"k_factor", 4}},
                                   SearchPoint{{"nprobe", 16}, {"k_factor", 4}}));
  const auto defaults = ParsePoints("defaults");
  ASSERT_OK(defaults);
  EXPECT_THAT(*defaults, ElementsAre(SearchPoint{}));
  for (const char* text : {"", "ef", "ef=", "ef=x", "=3", "ef=1=2"}) {
    EXPECT_EQ(ParsePoints(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(Measure, QuantilesAndMedians) {
  EXPECT_EQ(Quantile({}, 0.5), 0);
  EXPECT_EQ(Quantile({1, 2, 3, 4}, 0.5), 2);
  EXPECT_EQ(Quantile({1, 2, 3, 4}, 0.99), 4);
  EXPECT_EQ(Quantile({1, 2, 3, 4}, 0), 1);
  EXPECT_EQ(Median({3, 1, 2}), 2);
  EXPECT_EQ(Median({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(Median({}), 0);
}

}  // namespace
}  // namespace tessera::bench
