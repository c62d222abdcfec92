// Searches through the whole engine: batches, and rows of extreme magnitude.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "db/database.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::db {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class SearchTest : public testing::Test {
 protected:
  static constexpr uint32_t kDim = 24;

  void Open(base::Metric metric) {
    DatabaseOptions options;
    options.memory_limit = uint64_t{256} << 20;
    options.threads = 3;
    options.background_absorb = false;
    auto opened = Database::Open(dir_.path(), options);
    ASSERT_OK(opened);
    database_ = *std::move(opened);
    ASSERT_OK(database_->CreateCollection(
        {.name = "c", .vectors = {{.name = "", .dim = kDim, .metric = metric}}}));
    ASSERT_OK_AND_ASSIGN(collection_, database_->GetCollection("c"));
  }

  std::vector<float> Draw(float scale) {
    std::normal_distribution<float> normal;
    std::vector<float> values(kDim);
    const auto cluster = static_cast<float>(rng_() % 10);
    for (size_t i = 0; i < kDim; ++i) {
      values[i] = scale * (std::sin(cluster * static_cast<float>(i + 1)) + 0.3F * normal(rng_));
    }
    return values;
  }

  static Point MakePoint(uint64_t id, const std::vector<float>& values) {
    std::string bytes(values.size() * sizeof(float), '\0');
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return {.id = base::PointId(id), .vectors = {{.field = "", .bytes = bytes}}, .payload = {}};
  }

  void Load(size_t count, float scale) {
    size_t next = 0;
    ASSERT_OK(collection_->BulkLoad(
        [&](std::vector<Point>* batch) {
          batch->clear();
          for (; next < count && batch->size() < 500; ++next) {
            batch->push_back(MakePoint(next, Draw(scale)));
          }
          return absl::OkStatus();
        },
        {}));
  }

  TempDir dir_;
  std::mt19937_64 rng_{TestSeed()};
  std::unique_ptr<Database> database_;
  std::shared_ptr<Collection> collection_;
};

TEST_F(SearchTest, ABatchAnswersAsItsQueriesOneByOne) {
  Open(base::Metric::kCosine);
  Load(4000, 1);
  std::vector<float> queries;
  for (int i = 0; i < 60; ++i) {
    const std::vector<float> query = Draw(1);
    queries.insert(queries.end(), query.begin(), query.end());
  }
  SearchParams params;
  params.limit = 7;
  std::vector<SearchResult> results(60);
  std::atomic<int> calls{0};
  ASSERT_OK(collection_->SearchBatch(queries, params, [&](size_t query, SearchResult result) {
    results[query] = std::move(result);
    ++calls;
    return absl::OkStatus();
  }));
  EXPECT_EQ(calls, 60);
  for (size_t i = 0; i < 60; ++i) {
    ASSERT_OK_AND_ASSIGN(
        const SearchResult one,
        collection_->Search(std::span<const float>(queries).subspan(i * kDim, kDim), params));
    ASSERT_EQ(results[i].hits.size(), one.hits.size());
    for (size_t j = 0; j < one.hits.size(); ++j) {
      EXPECT_EQ(results[i].hits[j].id, one.hits[j].id);
      EXPECT_EQ(results[i].hits[j].score, one.hits[j].score);
    }
    EXPECT_EQ(results[i].stats.survivors, one.stats.survivors);
  }
}

TEST_F(SearchTest, BatchesEndEarlyAndSayWhichQuery) {
  Open(base::Metric::kL2);
  Load(500, 1);
  std::vector<float> queries(100 * kDim, 1);
  const BatchSink ignore = [](size_t, const SearchResult&) { return absl::OkStatus(); };
  SearchParams params;
  params.deadline = base::Deadline::After(absl::Seconds(-1));
  EXPECT_THAT(collection_->SearchBatch(queries, params, ignore),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("query ")));
  params = {};
  const std::atomic<bool> cancelled{true};
  params.cancelled = &cancelled;
  EXPECT_THAT(collection_->SearchBatch(queries, params, ignore),
              StatusIs(absl::StatusCode::kCancelled));
  params = {};
  queries[50 * kDim] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(collection_->SearchBatch(queries, params, ignore),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("query 50: ")));
  EXPECT_THAT(collection_->SearchBatch(std::span(queries).first(kDim + 1), params, ignore),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(collection_->SearchBatch(std::span(queries).first(kDim), params,
                                       [](size_t, const SearchResult&) {
                                         return absl::ResourceExhaustedError("no room");
                                       }),
              StatusIs(absl::StatusCode::kResourceExhausted, "query 0: no room"));
}

TEST_F(SearchTest, LengthsThatWouldOverflowAreRefusedAndOthersNeverDo) {
  Open(base::Metric::kL2);
  const std::vector<float> huge(kDim, 1e19F);
  EXPECT_THAT(collection_->Upsert({MakePoint(1, huge)}, Ack::kMemory),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("squared length of 2.4e+39"), HasSubstr("at most 8e+37"))));
  EXPECT_THAT(collection_->Search(huge, {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most 8e+37")));
  const float most = std::sqrt(8e37F / kDim) * 0.999F;
  const std::vector<float> longest(kDim, most);
  const std::vector<float> opposite(kDim, -most);
  ASSERT_OK(collection_->Upsert({MakePoint(1, longest), MakePoint(2, opposite)}, Ack::kMemory));
  for (const bool absorbed : {false, true}) {
    if (absorbed) {
      ASSERT_OK(collection_->Absorb());
    }
    for (const bool exact : {false, true}) {
      SearchParams params;
      params.exact = exact;
      ASSERT_OK_AND_ASSIGN(const SearchResult result, collection_->Search(longest, params));
      ASSERT_EQ(result.hits.size(), 2U);
      EXPECT_EQ(result.hits[0].distance, 0);
      EXPECT_TRUE(std::isfinite(result.hits[1].distance));
      EXPECT_GT(result.hits[1].distance, 3e38F);
    }
  }
}

// The nearest by brute force, in double precision.
class Magnitudes : public SearchTest,
                   public testing::WithParamInterface<std::tuple<base::Metric, float>> {};

TEST_P(Magnitudes, SearchesAreRightAndDoNotCompareEveryRow) {
  const auto [metric, scale] = GetParam();
  Open(metric);
  Load(6000, scale);
  double recall = 0;
  uint64_t reranked = 0;
  for (int i = 0; i < 30; ++i) {
    const std::vector<float> query = Draw(scale);
    SearchParams params;
    params.exact = true;
    ASSERT_OK_AND_ASSIGN(const SearchResult truth, collection_->Search(query, params));
    params.exact = false;
    ASSERT_OK_AND_ASSIGN(const SearchResult result, collection_->Search(query, params));
    ASSERT_EQ(result.hits.size(), 10U);
    for (const Hit& hit : result.hits) {
      EXPECT_TRUE(std::isfinite(hit.distance));
      recall += std::any_of(truth.hits.begin(), truth.hits.end(),
                            [&](const Hit& one) { return one.id == hit.id; })
                    ? 1.0 / 300
                    : 0;
    }
    reranked += result.stats.reranked;
  }
  EXPECT_GE(recall, 0.9);
  EXPECT_LT(reranked / 30, 1500U);
}

INSTANTIATE_TEST_SUITE_P(All, Magnitudes,
                         testing::Combine(testing::Values(base::Metric::kL2,
                                                          base::Metric::kInnerProduct,
                                                          base::Metric::kCosine),
                                          testing::Values(1e-21F, 1e18F)),
                         [](const auto& param) {
                           return std::string(base::ToString(std::get<0>(param.param))) +
                                  (std::get<1>(param.param) < 1 ? "Tiny" : "Huge");
                         });

}  // namespace
}  // namespace tessera::db
