#include "index/heads/head_index.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "tests/index/codecs/codec_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::index {
namespace {

using base::Metric;

// Rows around sqrt(n) centres that are far apart compared with their width.
std::vector<float> Clustered(std::mt19937_64& rng, size_t n, size_t dim) {
  const size_t centres = static_cast<size_t>(std::sqrt(static_cast<double>(n))) + 1;
  const std::vector<float> means = Gaussian(rng, centres * dim, 2);
  std::vector<float> rows = Gaussian(rng, n * dim);
  for (size_t i = 0; i < n; ++i) {
    const size_t centre = rng() % centres;
    for (size_t j = 0; j < dim; ++j) rows[i * dim + j] += means[centre * dim + j] + 3;
  }
  return rows;
}

std::vector<float> Decoded(const HeadIndex& index) {
  std::vector<float> heads(index.head_count() * index.dim());
  for (uint32_t i = 0; i < index.head_count(); ++i) {
    index.DecodeHead(i, heads.data() + i * index.dim());
  }
  return heads;
}

// The order of the header, in double.
double Order(Metric metric, const float* query, const float* head, double spread, size_t dim) {
  switch (metric) {
    case Metric::kL2:
      return Distance2(query, head, dim) + 0.1 * spread;
    case Metric::kCosine:
      return Distance2(query, head, dim) + 0.4 * spread;
    case Metric::kInnerProduct:
      break;
  }
  return -Dot(query, head, dim) - 0.2 * std::sqrt(Dot(query, query, dim) * spread);
}

std::vector<uint32_t> BruteForce(const HeadIndex& index, const std::vector<float>& heads,
                                 const std::vector<float>& spreads, const float* query) {
  std::vector<std::pair<double, uint32_t>> order;
  for (uint32_t i = 0; i < index.head_count(); ++i) {
    const double spread = spreads.empty() ? 0 : double{spreads[i]};
    order.emplace_back(
        Order(index.metric(), query, heads.data() + i * index.dim(), spread, index.dim()), i);
  }
  std::sort(order.begin(), order.end());
  std::vector<uint32_t> lists;
  for (const auto& [key, list] : order) lists.push_back(list);
  return lists;
}

struct Shape {
  size_t heads;
  size_t dim;
  Metric metric;
};

class HeadIndexShapes : public testing::TestWithParam<Shape> {};

TEST_P(HeadIndexShapes, FindsTheFirstHeadsOfTheOrder) {
  const auto [n, dim, metric] = GetParam();
  std::mt19937_64 rng(TestSeed());
  const std::vector<float> heads = Clustered(rng, n, dim);
  std::vector<float> spreads(n);
  for (float& spread : spreads) spread = std::abs(Gaussian(rng, 1)[0]) * static_cast<float>(dim);
  const auto index = HeadIndex::Build(heads, dim, {.metric = metric, .spreads = spreads});
  ASSERT_EQ(index->head_count(), n);
  const std::vector<float> decoded = Decoded(*index);
  HeadCursor scratch;
  std::vector<HeadHit> hits;
  size_t found = 0;
  size_t wanted = 0;
  for (size_t q = 0; q < 40; ++q) {
    std::vector<float> query(heads.begin() + static_cast<ptrdiff_t>(rng() % n * dim), heads.end());
    query.resize(dim);
    for (float& value : query) value += Gaussian(rng, 1)[0];
    index->Nearest(query.data(), 32, &scratch, &hits);
    const std::vector<uint32_t> truth = BruteForce(*index, decoded, spreads, query.data());
    ASSERT_EQ(hits.size(), std::min<size_t>(32, n));
    for (size_t i = 0; i < hits.size(); ++i) {
      const float* head = decoded.data() + hits[i].list * dim;
      // Rounding is relative to the spread of the data, not to the single distance.
      const double size = Dot(query.data(), query.data(), dim) + Dot(head, head, dim) +
                          static_cast<double>(10 * dim);
      EXPECT_NEAR(hits[i].distance2, Distance2(query.data(), head, dim), 4e-6 * size);
      EXPECT_NEAR(hits[i].dot, Dot(query.data(), head, dim), 4e-6 * size);
      found += static_cast<size_t>(std::count_if(
          hits.begin(), hits.end(), [&](const HeadHit& hit) { return hit.list == truth[i]; }));
    }
    wanted += hits.size();
  }
  EXPECT_GE(static_cast<double>(found), 0.99 * static_cast<double>(wanted));
}

std::vector<Shape> Shapes() {
  std::vector<Shape> shapes;
  for (const size_t n : {1, 15, 16, 17, 1000, 5000}) {
    for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
      shapes.push_back({n, 24, metric});
    }
    for (const size_t dim : {1, 2, 5, 100}) shapes.push_back({n, dim, Metric::kL2});
  }
  shapes.push_back({300, 1536, Metric::kInnerProduct});
  return shapes;
}

INSTANTIATE_TEST_SUITE_P(All, HeadIndexShapes, testing::ValuesIn(Shapes()), [](const auto& test) {
  return std::to_string(test.param.heads) + "x" + std::to_string(test.param.dim) + "_" +
         std::string(base::ToString(test.param.metric));
});

TEST(HeadIndex, HitsAreInOrderAndDistinct) {
  std::mt19937_64 rng(TestSeed());
  const std::vector<float> heads = Clustered(rng, 777, 20);
  const auto index = HeadIndex::Build(heads, 20, {});
  HeadCursor scratch;
  std::vector<HeadHit> hits = {{.list = 5, .distance2 = 1, .dot = 1}};
  const std::vector<float> query = Clustered(rng, 1, 20);
  for (const uint32_t nprobe : {0U, 1U, 10U, 776U, 777U, 100000U}) {
    index->Nearest(query.data(), nprobe, &scratch, &hits);
    ASSERT_EQ(hits.size(), std::min(nprobe, 777U));
    std::vector<uint32_t> lists;
    for (size_t i = 0; i < hits.size(); ++i) {
      lists.push_back(hits[i].list);
      if (i > 0) {
        EXPECT_LE(hits[i - 1].distance2, hits[i].distance2 * (1 + 1e-5F));
      }
    }
    std::sort(lists.begin(), lists.end());
    EXPECT_EQ(std::unique(lists.begin(), lists.end()), lists.end());
  }
}

TEST(HeadIndex, DecodedHeadsAreCloseToTheGivenOnes) {
  std::mt19937_64 rng(TestSeed());
  const size_t dim = 37;
  const std::vector<float> heads = Clustered(rng, 100, dim);
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct}) {
    const auto index = HeadIndex::Build(heads, dim, {.metric = metric});
    const std::vector<float> decoded = Decoded(*index);
    for (size_t i = 0; i < heads.size(); ++i) EXPECT_NEAR(decoded[i], heads[i], 0.06);
  }
}

TEST(HeadIndex, WithoutHeadsNothingIsFound) {
  const auto index = HeadIndex::Build({}, 3, {});
  EXPECT_EQ(index->head_count(), 0U);
  HeadCursor scratch;
  std::vector<HeadHit> hits(1);
  const float query[3] = {1, 2, 3};
  index->Nearest(query, 10, &scratch, &hits);
  EXPECT_TRUE(hits.empty());
  EXPECT_OK(HeadIndex::Deserialize(index->Serialize()));
}

TEST(HeadIndex, ZeroHeadsAndZeroQueriesGiveFiniteHits) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    const std::vector<float> heads(20 * 6, 0.0F);
    const auto index = HeadIndex::Build(heads, 6, {.metric = metric});
    HeadCursor scratch;
    std::vector<HeadHit> hits;
    for (const float value : {0.0F, 1.0F}) {
      const std::vector<float> query(6, value);
      index->Nearest(query.data(), 20, &scratch, &hits);
      ASSERT_EQ(hits.size(), 20U);
      for (uint32_t i = 0; i < 20; ++i) {
        EXPECT_EQ(hits[i].list, i);  // equal ones by number
        EXPECT_EQ(hits[i].distance2, 6 * value);
        EXPECT_EQ(hits[i].dot, 0);
      }
    }
  }
}

TEST(HeadIndex, HugeValuesStillGiveEveryListOnce) {
  std::mt19937_64 rng(TestSeed());
  const std::vector<float> heads = Gaussian(rng, 50 * 4, 1e30F);
  const auto index = HeadIndex::Build(heads, 4, {});
  HeadCursor scratch;
  std::vector<HeadHit> hits;
  const std::vector<float> query = Gaussian(rng, 4, 1e30F);
  index->Nearest(query.data(), 50, &scratch, &hits);
  EXPECT_EQ(hits.size(), 50U);
  index->Nearest(query.data(), 7, &scratch, &hits);
  EXPECT_EQ(hits.size(), 7U);
}

std::unique_ptr<HeadIndex> Small() {
  const std::vector<float> heads = {1, 2, 3, -4, 0, 6, 7, -8, 9};
  const std::vector<float> spreads = {0.5F, 1, 2};
  return HeadIndex::Build(heads, 3, {.metric = Metric::kInnerProduct, .spreads = spreads});
}

std::string Hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    out += "0123456789abcdef"[static_cast<uint8_t>(c) >> 4];
    out += "0123456789abcdef"[static_cast<uint8_t>(c) & 15];
  }
  return out;
}

TEST(HeadIndex, BytesArePinned) {
  EXPECT_EQ(Hex(Small()->Serialize()),
            "54484432"                  // magic
            "02"                        // metric
            "00"                        // no tier
            "03000000"                  // dim
            "03000000"                  // heads
            "0000803f"                  // unit
            "000000000000000000000000"  // origin
            "0683c13c0683413d4522913d"  // scales
            "0000003f0000803f00000040"  // spreads
            "aad5ff2b80ffe30fff"        // codes
            "35dbf49d");                // checksum
}

TEST(HeadIndex, RoundTripFindsTheSame) {
  std::mt19937_64 rng(TestSeed());
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    const std::vector<float> heads = Clustered(rng, 333, 11);
    const std::vector<float> spreads(333, 0.25F);
    const auto index = HeadIndex::Build(heads, 11, {.metric = metric, .spreads = spreads});
    const std::string bytes = index->Serialize();
    ASSERT_OK_AND_ASSIGN(const auto read, HeadIndex::Deserialize(bytes));
    EXPECT_EQ(read->Serialize(), bytes);
    EXPECT_EQ(read->metric(), metric);
    EXPECT_EQ(Decoded(*read), Decoded(*index));
    HeadCursor scratch;
    std::vector<HeadHit> a;
    std::vector<HeadHit> b;
    const std::vector<float> query = Clustered(rng, 1, 11);
    index->Nearest(query.data(), 40, &scratch, &a);
    read->Nearest(query.data(), 40, &scratch, &b);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].list, b[i].list);
      EXPECT_EQ(a[i].distance2, b[i].distance2);
      EXPECT_EQ(a[i].dot, b[i].dot);
    }
  }
}

TEST(HeadIndex, EveryTruncationAndFlippedByteIsDataLoss) {
  const std::string bytes = Small()->Serialize();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THAT(HeadIndex::Deserialize(bytes.substr(0, size)),
                StatusIs(absl::StatusCode::kDataLoss));
  }
  EXPECT_THAT(HeadIndex::Deserialize(bytes + "x"), StatusIs(absl::StatusCode::kDataLoss));
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const int mask : {0x01, 0x80, 0xFF}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ mask);
      EXPECT_THAT(HeadIndex::Deserialize(damaged), StatusIs(absl::StatusCode::kDataLoss));
    }
  }
}

// Bytes whose checksum is right but whose content is not.
TEST(HeadIndex, NumbersOutOfRangeAreDataLoss) {
  const std::string bytes = Small()->Serialize();
  const auto with_float = [&](size_t offset, float value) {
    std::string damaged = bytes.substr(0, bytes.size() - 4);
    base::StoreF32(reinterpret_cast<std::byte*>(damaged.data()) + offset, value);
    base::PutU32(&damaged, base::Crc32c(damaged));
    return damaged;
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_OK(HeadIndex::Deserialize(with_float(18, 1)));
  EXPECT_THAT(HeadIndex::Deserialize(with_float(18, nan)), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(HeadIndex::Deserialize(with_float(30, nan)), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(HeadIndex::Deserialize(with_float(18, 1e30F)), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(HeadIndex::Deserialize(with_float(14, 3)), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(HeadIndex::Deserialize(with_float(42, -1)), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace tessera::index
