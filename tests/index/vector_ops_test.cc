#include "index/kernels/vector_ops.h"

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"

#include "base/float16.h"
#include "tests/support/seed.h"

namespace tessera::index {
namespace {

const VectorOps* Supported(base::CpuLevel level) {
  for (const base::CpuLevel here : base::SupportedCpuLevels()) {
    if (here == level) return &VectorOpsFor(level);
  }
  return nullptr;
}

double ToDouble(float value) {
  return value;
}
double ToDouble(uint16_t half) {
  return base::F16ToF32(half);
}
double ToDouble(int8_t value) {
  return value;
}
double ToDouble(uint8_t value) {
  return value;
}

// One element in, so that no vector load is aligned by luck.
template <typename T>
struct Pair {
  std::vector<float> query;
  std::vector<T> row;
  const float* q() const { return query.data() + 1; }
  const T* r() const { return row.data() + 1; }
};

class VectorOpsTest : public testing::TestWithParam<std::tuple<base::CpuLevel, size_t>> {
 protected:
  void SetUp() override {
    ops_ = Supported(std::get<0>(GetParam()));
    if (ops_ == nullptr) GTEST_SKIP() << "this machine cannot run it";
    rng_.seed(test::TestSeed() + dim());
  }
  size_t dim() const { return std::get<1>(GetParam()); }

  template <typename T, typename Draw>
  Pair<T> MakePair(Draw draw) {
    Pair<T> pair;
    std::normal_distribution<float> normal(0, 3);
    for (size_t i = 0; i <= dim(); ++i) {
      pair.query.push_back(normal(rng_));
      pair.row.push_back(draw(normal(rng_)));
    }
    return pair;
  }

  // Worst-case rounding of dim additions plus a subtraction and a square; derived, not tuned.
  template <typename T>
  void CheckFloat(float (*l2)(const float*, const T*, size_t),
                  float (*dot)(const float*, const T*, size_t), const Pair<T>& pair) {
    double want_l2 = 0;
    double want_dot = 0;
    double magnitude = 0;
    for (size_t i = 0; i < dim(); ++i) {
      const double q = pair.q()[i];
      const double r = ToDouble(pair.r()[i]);
      want_l2 += (q - r) * (q - r);
      want_dot += q * r;
      magnitude += std::abs(q * r);
    }
    const double unit = static_cast<double>(dim() + 4) * 0x1p-24;
    EXPECT_NEAR(l2(pair.q(), pair.r(), dim()), want_l2, unit * want_l2);
    EXPECT_NEAR(dot(pair.q(), pair.r(), dim()), want_dot, unit * magnitude);
  }

  template <typename A, typename B>
  int64_t WantDot(const A* a, const B* b) const {
    int64_t sum = 0;
    for (size_t i = 0; i < dim(); ++i) sum += int64_t{a[i]} * b[i];
    return sum;
  }
  template <typename T>
  int64_t WantL2(const T* a, const T* b) const {
    int64_t sum = 0;
    for (size_t i = 0; i < dim(); ++i) sum += (int64_t{a[i]} - b[i]) * (int64_t{a[i]} - b[i]);
    return sum;
  }
  // Half of the rows hold nothing but the extremes.
  template <typename T>
  std::vector<T> Integers(int low, int high, bool extremes) {
    std::uniform_int_distribution<int> any(low, high);
    std::vector<T> out;
    for (size_t i = 0; i <= dim(); ++i) {
      out.push_back(static_cast<T>(extremes ? ((rng_() & 1) != 0 ? low : high) : any(rng_)));
    }
    return out;
  }

  const VectorOps* ops_ = nullptr;
  std::mt19937_64 rng_;
};

TEST_P(VectorOpsTest, FloatsMatchADoubleReference) {
  CheckFloat<float>(ops_->l2_f32, ops_->dot_f32, MakePair<float>([](float v) { return v; }));
  CheckFloat<uint16_t>(ops_->l2_f16, ops_->dot_f16,
                       MakePair<uint16_t>([](float v) { return base::F32ToF16(v); }));
  CheckFloat<int8_t>(ops_->l2_i8, ops_->dot_i8, MakePair<int8_t>([](float v) {
                       return static_cast<int8_t>(std::lround(v * 8));
                     }));
  CheckFloat<uint8_t>(ops_->l2_u8, ops_->dot_u8, MakePair<uint8_t>([](float v) {
                        return static_cast<uint8_t>(std::lround(std::abs(v) * 16));
                      }));
}

TEST_P(VectorOpsTest, NormsMatchADoubleReference) {
  const auto f32 = MakePair<float>([](float v) { return v; });
  const auto f16 = MakePair<uint16_t>([](float v) { return base::F32ToF16(v); });
  double want32 = 0;
  double want16 = 0;
  for (size_t i = 0; i < dim(); ++i) {
    want32 += ToDouble(f32.r()[i]) * ToDouble(f32.r()[i]);
    want16 += ToDouble(f16.r()[i]) * ToDouble(f16.r()[i]);
  }
  const double unit = static_cast<double>(dim() + 4) * 0x1p-24;
  EXPECT_NEAR(ops_->norm2_f32(f32.r(), dim()), want32, unit * want32);
  EXPECT_NEAR(ops_->norm2_f16(f16.r(), dim()), want16, unit * want16);
}

TEST_P(VectorOpsTest, HalfSubnormalsCount) {
  if (dim() == 0) GTEST_SKIP();
  std::vector<uint16_t> row(dim(), 0);
  row.back() = 1;  // 2^-24
  std::vector<float> query(dim(), 0);
  query.back() = 0x1p24F;
  EXPECT_EQ(ops_->dot_f16(query.data(), row.data(), dim()), 1.0F);
}

TEST_P(VectorOpsTest, IntegersAreExact) {
  for (const bool extremes : {false, true}) {
    const auto a = Integers<int8_t>(-128, 127, extremes);
    const auto b = Integers<int8_t>(-128, 127, extremes);
    EXPECT_EQ(ops_->int_dot_i8(&a[1], &b[1], dim()), WantDot(&a[1], &b[1]));
    EXPECT_EQ(ops_->int_l2_i8(&a[1], &b[1], dim()), WantL2(&a[1], &b[1]));
    const auto u = Integers<uint8_t>(0, 255, extremes);
    const auto v = Integers<uint8_t>(0, 255, extremes);
    EXPECT_EQ(ops_->int_dot_u8(&u[1], &v[1], dim()), WantDot(&u[1], &v[1]));
    EXPECT_EQ(ops_->int_l2_u8(&u[1], &v[1], dim()), WantL2(&u[1], &v[1]));
    const auto q = Integers<int8_t>(-127, 127, extremes);
    EXPECT_EQ(ops_->code8_dot(&u[1], &q[1], dim()), WantDot(&u[1], &q[1]));
  }
}

TEST_P(VectorOpsTest, NibbleDotTakesBothHalves) {
  for (const bool extremes : {false, true}) {
    const auto codes = Integers<uint8_t>(0, 255, extremes);
    const auto low = Integers<int8_t>(-127, 127, extremes);
    const auto high = Integers<int8_t>(-127, 127, extremes);
    int64_t want = 0;
    for (size_t i = 1; i <= dim(); ++i) {
      want += (codes[i] & 15) * low[i] + (codes[i] >> 4) * high[i];
    }
    EXPECT_EQ(ops_->code4_dot(&codes[1], &low[1], &high[1], dim()), want);
  }
}

// Around every lane count and unroll step, an odd prime, and the dims users have.
INSTANTIATE_TEST_SUITE_P(
    EveryCpu, VectorOpsTest,
    testing::Combine(testing::Values(base::CpuLevel::kScalar, base::CpuLevel::kAvx2,
                                     base::CpuLevel::kAvx512),
                     testing::Values(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64,
                                     65, 100, 127, 128, 129, 223, 768, 1536, 16384)),
    [](const auto& param) {
      return std::string(base::ToString(std::get<0>(param.param))) + "Dim" +
             std::to_string(std::get<1>(param.param));
    });

}  // namespace
}  // namespace tessera::index
