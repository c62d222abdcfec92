#include "index/heads/head_tier.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "index/heads/head_index.h"
#include "tests/index/codecs/codec_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::index {
namespace {

using base::Metric;

// Rows of a few directions around centres, as heads of real data are.
std::vector<float> Clustered(std::mt19937_64& rng, size_t n, size_t dim) {
  const size_t centres = n / 40 + 1;
  std::vector<float> rows = Gaussian(rng, n * dim, 0.2F);
  const std::vector<float> means = Gaussian(rng, centres * dim);
  for (size_t i = 0; i < n; ++i) {
    const float* mean = means.data() + rng() % centres * dim;
    for (size_t j = 0; j < dim; ++j) {
      rows[i * dim + j] = (rows[i * dim + j] + mean[j]) / static_cast<float>(1 + j / 16) + 1;
    }
  }
  return rows;
}

struct Shape {
  size_t heads;
  size_t dim;
  Metric metric;
  uint32_t nprobe;
  bool spread;
};

class HeadTierShapes : public testing::TestWithParam<Shape> {};

TEST_P(HeadTierShapes, FindsNearlyWhatComparingAllHeadsFinds) {
  const Shape& shape = GetParam();
  std::mt19937_64 rng(TestSeed());
  const std::vector<float> heads = Clustered(rng, shape.heads, shape.dim);
  std::vector<float> spreads(shape.heads);
  for (float& spread : spreads) {
    // About the square of the distance between heads that are close to each other.
    spread = shape.spread ? std::abs(Gaussian(rng, 1)[0]) : 0;
  }
  const auto index =
      HeadIndex::Build(heads, shape.dim, {.metric = shape.metric, .spreads = spreads});
  ASSERT_TRUE(index->has_tier());
  std::vector<float> decoded(heads.size());
  for (uint32_t i = 0; i < shape.heads; ++i) {
    index->DecodeHead(i, decoded.data() + i * shape.dim);
  }
  HeadCursor scratch;
  std::vector<HeadHit> hits;
  size_t found = 0;
  size_t nearest_found = 0;
  const size_t queries = 40;
  for (size_t q = 0; q < queries; ++q) {
    // Between two heads.
    const float* a = heads.data() + rng() % shape.heads * shape.dim;
    std::vector<float> query = Gaussian(rng, shape.dim, 0.1F);
    for (size_t j = 0; j < shape.dim; ++j) query[j] += a[j];
    index->Nearest(query.data(), shape.nprobe, &scratch, &hits);
    ASSERT_EQ(hits.size(), shape.nprobe);
    std::vector<std::pair<double, uint32_t>> truth(shape.heads);
    const double norm = std::sqrt(Dot(query.data(), query.data(), shape.dim));
    for (uint32_t i = 0; i < shape.heads; ++i) {
      const float* head = decoded.data() + i * shape.dim;
      const double spread = double{spreads[i]};
      const double key = shape.metric == Metric::kInnerProduct
                             ? -Dot(query.data(), head, shape.dim) - 0.2 * norm * std::sqrt(spread)
                             : Distance2(query.data(), head, shape.dim) +
                                   (shape.metric == Metric::kL2 ? 0.1 : 0.4) * spread;
      truth[i] = {key, i};
    }
    std::sort(truth.begin(), truth.end());
    std::vector<bool> wanted(shape.heads, false);
    for (uint32_t i = 0; i < shape.nprobe; ++i) wanted[truth[i].second] = true;
    for (const HeadHit& hit : hits) found += wanted[hit.list] ? 1 : 0;
    nearest_found += hits[0].list == truth[0].second ? 1 : 0;
  }
  EXPECT_GE(static_cast<double>(found), 0.97 * static_cast<double>(queries * shape.nprobe));
  EXPECT_GE(nearest_found, queries * 9 / 10);
}

INSTANTIATE_TEST_SUITE_P(All, HeadTierShapes,
                         testing::Values(Shape{11000, 100, Metric::kL2, 32, false},
                                         Shape{11000, 100, Metric::kL2, 32, true},
                                         Shape{11000, 100, Metric::kCosine, 32, true},
                                         Shape{11000, 100, Metric::kInnerProduct, 32, true},
                                         Shape{11000, 100, Metric::kL2, 1, true},
                                         Shape{11000, 100, Metric::kL2, 1500, true},
                                         Shape{2200, 512, Metric::kL2, 32, true},
                                         Shape{2200, 512, Metric::kInnerProduct, 32, true},
                                         Shape{1100, 1536, Metric::kCosine, 32, true}),
                         [](const auto& test) {
                           return std::to_string(test.param.heads) + "x" +
                                  std::to_string(test.param.dim) + "_" +
                                  std::string(base::ToString(test.param.metric)) + "_" +
                                  std::to_string(test.param.nprobe) +
                                  (test.param.spread ? "_spread" : "");
                         });

TEST(HeadTier, AsksForAllHeadsGivesEveryOneOnce) {
  std::mt19937_64 rng(TestSeed());
  const size_t n = 11000;
  const std::vector<float> heads = Clustered(rng, n, 100);
  const auto index = HeadIndex::Build(heads, 100, {});
  ASSERT_TRUE(index->has_tier());
  HeadCursor scratch;
  std::vector<HeadHit> hits;
  index->Nearest(heads.data(), 100000, &scratch, &hits);
  ASSERT_EQ(hits.size(), n);
  std::vector<bool> seen(n, false);
  for (size_t i = 0; i < n; ++i) {
    EXPECT_FALSE(seen[hits[i].list]);
    seen[hits[i].list] = true;
    if (i > 0) {
      EXPECT_LE(hits[i - 1].distance2, hits[i].distance2 * (1 + 1e-4F) + 1e-4F);
    }
  }
}

TEST(HeadTier, IdenticalHeadsAreAllFound) {
  const std::vector<float> heads(size_t{11000} * 100, 1.0F);
  const auto index = HeadIndex::Build(heads, 100, {});
  HeadCursor scratch;
  std::vector<HeadHit> hits;
  for (const float value : {1.0F, 0.0F}) {
    const std::vector<float> query(100, value);
    index->Nearest(query.data(), 50, &scratch, &hits);
    ASSERT_EQ(hits.size(), 50U);
    for (const HeadHit& hit : hits) EXPECT_NEAR(hit.distance2, value == 1 ? 0 : 100, 1e-3);
  }
}

// One scratch may go from index to index, with a tier or without.
TEST(HeadTier, ScratchServesSeveralIndexes) {
  std::mt19937_64 rng(TestSeed());
  std::vector<std::unique_ptr<HeadIndex>> indexes;
  for (const size_t dim : {100, 30, 200}) {
    indexes.push_back(HeadIndex::Build(Clustered(rng, 10600, dim), dim, {}));
  }
  HeadCursor shared;
  for (int round = 0; round < 2; ++round) {
    for (const auto& index : indexes) {
      const std::vector<float> query = Clustered(rng, 1, index->dim());
      HeadCursor own;
      std::vector<HeadHit> a;
      std::vector<HeadHit> b;
      index->Nearest(query.data(), 20, &shared, &a);
      index->Nearest(query.data(), 20, &own, &b);
      ASSERT_EQ(a.size(), b.size());
      for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].list, b[i].list);
    }
  }
}

class SerialisedTier : public testing::Test {
 protected:
  static const HeadIndex& Index() {
    static const std::unique_ptr<HeadIndex> index = [] {
      std::mt19937_64 rng(7);
      return HeadIndex::Build(Clustered(rng, 2200, 480), 480, {.metric = Metric::kCosine});
    }();
    return *index;
  }
};

TEST_F(SerialisedTier, RoundTripFindsTheSame) {
  const std::string bytes = Index().Serialize();
  ASSERT_OK_AND_ASSIGN(const auto read, HeadIndex::Deserialize(bytes));
  EXPECT_TRUE(read->has_tier());
  EXPECT_EQ(read->Serialize(), bytes);
  std::mt19937_64 rng(TestSeed());
  HeadCursor scratch;
  std::vector<HeadHit> a;
  std::vector<HeadHit> b;
  for (int i = 0; i < 10; ++i) {
    const std::vector<float> query = Clustered(rng, 1, 480);
    Index().Nearest(query.data(), 25, &scratch, &a);
    read->Nearest(query.data(), 25, &scratch, &b);
    ASSERT_EQ(a.size(), b.size());
    for (size_t h = 0; h < a.size(); ++h) {
      EXPECT_EQ(a[h].list, b[h].list);
      EXPECT_EQ(a[h].distance2, b[h].distance2);
    }
  }
}

TEST_F(SerialisedTier, BuildsAreEqualForAnyThreadCount) {
  std::mt19937_64 rng(7);
  const std::vector<float> heads = Clustered(rng, 2200, 480);
  for (const uint32_t threads : {1U, 3U}) {
    EXPECT_EQ(HeadIndex::Build(heads, 480, {.metric = Metric::kCosine, .thread_count = threads})
                  ->Serialize(),
              Index().Serialize());
  }
}

TEST_F(SerialisedTier, DamageIsDataLoss) {
  const std::string bytes = Index().Serialize();
  std::mt19937_64 rng(TestSeed());
  for (int i = 0; i < 100; ++i) {
    EXPECT_THAT(HeadIndex::Deserialize(bytes.substr(0, rng() % bytes.size())),
                StatusIs(absl::StatusCode::kDataLoss));
    std::string damaged = bytes;
    damaged[rng() % bytes.size()] ^= static_cast<char>(1 + rng() % 255);
    EXPECT_THAT(HeadIndex::Deserialize(damaged), StatusIs(absl::StatusCode::kDataLoss));
  }
}

// With the checksum made right again: whatever is accepted must be searched in bounds.
TEST_F(SerialisedTier, DamageUnderARightChecksumIsRefusedOrHarmless) {
  const std::string bytes = Index().Serialize();
  std::mt19937_64 rng(TestSeed());
  HeadCursor scratch;
  std::vector<HeadHit> hits;
  const std::vector<float> query = Clustered(rng, 1, 480);
  // The tier begins behind the heads.
  const size_t tier = 18 + 4 * 480 + 8 * 2200 + 2200 * 480;
  for (int i = 0; i < 300; ++i) {
    std::string damaged = bytes.substr(0, bytes.size() - 4);
    if (i % 3 == 0) {
      damaged.resize(tier + rng() % (damaged.size() - tier));
    } else {
      const size_t at = i % 3 == 1 ? tier + rng() % (damaged.size() - tier) : rng() % 64 + tier;
      damaged[at] ^= static_cast<char>(1 + rng() % 255);
    }
    base::PutU32(&damaged, base::Crc32c(damaged));
    const auto read = HeadIndex::Deserialize(damaged);
    if (!read.ok()) continue;
    (*read)->Nearest(query.data(), 40, &scratch, &hits);
    ASSERT_EQ(hits.size(), 40U);
    for (const HeadHit& hit : hits) ASSERT_LT(hit.list, 2200U);
  }
}

}  // namespace
}  // namespace tessera::index
