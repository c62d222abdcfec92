#include "index/distance.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"

#include "base/float16.h"
#include "tests/support/seed.h"

namespace tessera::index {
namespace {

using base::CpuLevel;
using base::ElementType;
using base::Metric;

constexpr size_t kDims[] = {1, 2, 3, 7, 15, 16, 17, 31, 33, 64, 100, 127, 128, 129, 513, 1536};

// A stored row, one byte in so that nothing is aligned by luck, and what it stands for.
struct StoredRow {
  std::vector<std::byte> bytes;
  std::vector<double> values;
  const std::byte* data() const { return bytes.data() + 1; }
};

StoredRow Store(ElementType type, const std::vector<float>& values) {
  StoredRow row;
  row.bytes.resize(1 + values.size() * base::ElementBytes(type));
  for (size_t i = 0; i < values.size(); ++i) {
    std::byte* out = row.bytes.data() + 1 + i * base::ElementBytes(type);
    if (type == ElementType::kF32) {
      std::memcpy(out, &values[i], sizeof(float));
      row.values.push_back(values[i]);
    } else if (type == ElementType::kF16) {
      const uint16_t half = base::F32ToF16(values[i]);
      std::memcpy(out, &half, sizeof(half));
      row.values.push_back(base::F16ToF32(half));
    } else {
      *out = static_cast<std::byte>(static_cast<uint8_t>(static_cast<int>(values[i])));
      row.values.push_back(std::trunc(values[i]));
    }
  }
  return row;
}

struct Reference {
  double value = 0;
  double slack = 0;  // worst-case rounding of an f32 sum
};

Reference ReferenceOf(Metric metric, const std::vector<float>& q, const std::vector<double>& r) {
  double dot = 0;
  double magnitude = 0;
  double l2 = 0;
  double q2 = 0;
  double r2 = 0;
  for (size_t i = 0; i < q.size(); ++i) {
    const double a = q[i];
    dot += a * r[i];
    magnitude += std::abs(a * r[i]);
    l2 += (a - r[i]) * (a - r[i]);
    q2 += a * a;
    r2 += r[i] * r[i];
  }
  const double unit = static_cast<double>(q.size() + 8) * 0x1p-24;
  if (metric == Metric::kL2) return {l2, unit * l2};
  if (metric == Metric::kInnerProduct) return {-dot, unit * magnitude};
  if (q2 == 0 || r2 == 0) return {0, 0};
  const double lengths = std::sqrt(q2) * std::sqrt(r2);
  return {-dot / lengths, 2 * unit * (magnitude / lengths + 0x1p-20)};
}

class DistanceTest : public testing::TestWithParam<std::tuple<CpuLevel, Metric, ElementType>> {
 protected:
  void SetUp() override {
    for (const CpuLevel here : base::SupportedCpuLevels()) {
      if (here == std::get<0>(GetParam())) ops_ = &VectorOpsFor(here);
    }
    if (ops_ == nullptr) GTEST_SKIP() << "this machine cannot run it";
    rng_.seed(test::TestSeed());
  }
  Metric metric() const { return std::get<1>(GetParam()); }
  ElementType type() const { return std::get<2>(GetParam()); }

  std::vector<float> Draw(size_t dim, bool integers) {
    std::vector<float> out(dim);
    if (integers) {
      const int low = type() == ElementType::kI8 ? -128 : 0;
      std::uniform_int_distribution<int> uniform(low, low + 255);
      for (float& v : out) v = static_cast<float>(uniform(rng_));
    } else {
      std::normal_distribution<float> normal(0.5F, 3);
      for (float& v : out) v = normal(rng_);
    }
    return out;
  }
  float Compare(const std::vector<float>& query, const StoredRow& row) {
    distance_.Prepare(metric(), type(), query, *ops_);
    return distance_(row.data());
  }
  void ExpectAsReference(const std::vector<float>& query, const StoredRow& row) {
    const Reference want = ReferenceOf(metric(), query, row.values);
    EXPECT_NEAR(Compare(query, row), want.value, want.slack) << "dim " << query.size();
  }

  const VectorOps* ops_ = nullptr;
  std::mt19937_64 rng_;
  RowDistance distance_;
};

TEST_P(DistanceTest, MatchesTheDoubleReference) {
  const bool bytes = base::ElementBytes(type()) == 1;
  for (const size_t dim : kDims) {
    for (int round = 0; round < 4; ++round) {
      const StoredRow row = Store(type(), Draw(dim, bytes));
      ExpectAsReference(Draw(dim, false), row);
      // Integer queries, on one-byte rows, take the exact path.
      ExpectAsReference(Draw(dim, true), row);
      std::vector<float> same(dim);
      for (size_t i = 0; i < dim; ++i) same[i] = static_cast<float>(row.values[i]);
      ExpectAsReference(same, row);
    }
  }
}

TEST_P(DistanceTest, IntegersAreExact) {
  if (base::ElementBytes(type()) != 1) GTEST_SKIP() << "of one-byte elements only";
  if (metric() == Metric::kCosine) GTEST_SKIP() << "a quotient is not exact";
  for (const size_t dim : kDims) {
    const std::vector<float> query = Draw(dim, true);
    const StoredRow row = Store(type(), Draw(dim, true));
    EXPECT_EQ(Compare(query, row),
              static_cast<float>(ReferenceOf(metric(), query, row.values).value));
  }
  // The largest sums there are.
  const float low = type() == ElementType::kI8 ? -128.0F : 0.0F;
  for (const float value : {low, low + 255}) {
    const std::vector<float> query(base::kDimMax, low);
    const StoredRow row = Store(type(), std::vector<float>(base::kDimMax, value));
    EXPECT_EQ(Compare(query, row),
              static_cast<float>(ReferenceOf(metric(), query, row.values).value));
  }
}

TEST_P(DistanceTest, ZeroVectors) {
  for (const size_t dim : kDims) {
    const std::vector<float> zero(dim);
    const std::vector<float> some = Draw(dim, true);
    ExpectAsReference(zero, Store(type(), zero));
    ExpectAsReference(zero, Store(type(), some));
    ExpectAsReference(some, Store(type(), zero));
    if (metric() == Metric::kCosine) {
      EXPECT_EQ(Compare(some, Store(type(), zero)), 0);
      EXPECT_EQ(Compare(zero, Store(type(), some)), 0);
    }
  }
}

// Lengths whose squares leave the range of f32 on either side.
TEST_P(DistanceTest, ExtremeLengthsNeverGiveNaN) {
  for (const size_t dim : {1, 2, 7, 100}) {
    for (const float query_scale : {1e-42F, 1e-30F, 1.0F, 1e19F, 1e37F}) {
      for (const float row_scale : {1e-42F, 1e-30F, 1.0F, 1e19F, 1e37F}) {
        std::vector<float> query = Draw(dim, false);
        std::vector<float> values = Draw(dim, base::ElementBytes(type()) == 1);
        for (float& v : query) v *= query_scale;
        if (type() == ElementType::kF32) {
          for (float& v : values) v *= row_scale;
        }
        const StoredRow row = Store(type(), values);
        const Reference want = ReferenceOf(metric(), query, row.values);
        const float got = Compare(query, row);
        ASSERT_FALSE(std::isnan(got)) << query_scale << " and " << row_scale;
        if (std::abs(want.value) > std::numeric_limits<float>::max()) {
          EXPECT_EQ(std::isinf(got), true);
          EXPECT_EQ(std::signbit(got), want.value < 0);
        } else if (std::isfinite(got)) {
          EXPECT_NEAR(got, want.value, want.slack + 1e-37);
        } else {
          EXPECT_GT(std::abs(want.value), 0.9 * std::numeric_limits<float>::max());
        }
      }
    }
  }
}

// A cosine that rounding would put a little beyond 1 or -1.
TEST_P(DistanceTest, CosinesAreWithinOne) {
  if (metric() != Metric::kCosine) GTEST_SKIP() << "of the cosine";
  for (int round = 0; round < 500; ++round) {
    const bool integers = base::ElementBytes(type()) == 1 || round % 3 == 0;
    std::vector<float> query = Draw(round % 2 == 0 ? 96 : 384, integers);
    const StoredRow row = Store(type(), query);
    const float same = Compare(std::vector<float>(row.values.begin(), row.values.end()), row);
    EXPECT_GE(same, -1.0F);
    EXPECT_NEAR(same, -1.0F, 1e-6);
    for (float& value : query) value *= -3;
    EXPECT_LE(Compare(query, row), 1.0F);
  }
}

// Squares far below the least normal number: sums as good as rounding to f32 leaves them.
TEST_P(DistanceTest, TinyLengthsKeepTheirDigits) {
  if (type() != ElementType::kF32) GTEST_SKIP() << "other elements are not that small";
  for (const size_t dim : {1, 7, 100, 600}) {
    for (const float scale : {1e-17F, 1e-19F, 1e-21F}) {
      std::vector<float> query = Draw(dim, false);
      std::vector<float> values = Draw(dim, false);
      for (float& v : query) v *= scale;
      for (float& v : values) v *= scale;
      const StoredRow row = Store(type(), values);
      const Reference want = ReferenceOf(metric(), query, row.values);
      EXPECT_NEAR(Compare(query, row), want.value, want.slack + 1.5e-45) << dim << " x " << scale;
    }
  }
}

// The longest vectors that are accepted, opposite to each other.
TEST_P(DistanceTest, NothingOverflowsWithinTheLengthAllowed) {
  if (type() != ElementType::kF32) GTEST_SKIP() << "other elements are not that large";
  for (const size_t dim : {1, 3, 64, 1536}) {
    const auto most =
        static_cast<float>(std::sqrt(base::kNorm2Max / static_cast<double>(dim)) * (1 - 1e-6));
    const std::vector<float> query(dim, most);
    const float got = Compare(query, Store(type(), std::vector<float>(dim, -most)));
    EXPECT_TRUE(std::isfinite(got)) << got;
    EXPECT_GT(got, metric() == Metric::kL2 ? 3e38F : 0.9F);
  }
}

// Terms that overflow to both infinities have a finite sum all the same.
TEST_P(DistanceTest, CancellingOverflow) {
  if (metric() != Metric::kInnerProduct || type() != ElementType::kF32) {
    GTEST_SKIP() << "other sums have no such terms";
  }
  std::vector<float> query(40, 1e30F);
  std::vector<float> values(40, 1e30F);
  for (size_t i = 0; i < values.size(); i += 2) values[i] = -1e30F;
  EXPECT_EQ(Compare(query, Store(type(), values)), 0);
}

INSTANTIATE_TEST_SUITE_P(
    All, DistanceTest,
    testing::Combine(testing::Values(CpuLevel::kScalar, CpuLevel::kAvx2, CpuLevel::kAvx512),
                     testing::Values(Metric::kL2, Metric::kInnerProduct, Metric::kCosine),
                     testing::Values(ElementType::kF32, ElementType::kF16, ElementType::kI8,
                                     ElementType::kU8)),
    [](const auto& param) {
      return std::string(base::ToString(std::get<0>(param.param))) + "_" +
             std::string(base::ToString(std::get<1>(param.param))) + "_" +
             std::string(base::ToString(std::get<2>(param.param)));
    });

}  // namespace
}  // namespace tessera::index
