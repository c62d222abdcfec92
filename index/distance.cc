#include "index/distance.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/coding/coding.h"
#include "base/float16.h"

namespace tessera::index {
namespace {

// Squared lengths between these lose nothing that matters to underflow or overflow, and neither
// does a dot product with a unit vector.
constexpr float kNorm2Least = 1e-24F;
constexpr float kNorm2Most = 1e36F;
// Queries of no component above this are compared with scaled rows under L2: with rows as small the
// processor would take the slow path of denormal numbers at every step, and round their squares.
constexpr float kTinyQuery = 0x1p-50F;
constexpr float kTinyScale = 0x1p50F;
// What an inner product multiplies a query with whose components are all below the inverse.
constexpr int kDotExponentLeast = -30;
// What brings the squares of very short and very long rows into the range of f32.
constexpr float kShortScale = 0x1p60F;
constexpr float kLongScale = 0x1p-60F;
// Elements scaled at a time.
constexpr size_t kChunk = 256;

}  // namespace

// One function per metric and element type, chosen when the query is prepared.
struct RowDistance::Forms {
  using Self = RowDistance;

  template <typename T>
  static const T* As(const std::byte* row) {
    return reinterpret_cast<const T*>(row);
  }
  static const int8_t* QueryI8(const Self& s) {
    return reinterpret_cast<const int8_t*>(s.bytes_.data());
  }
  // Sums in f32 that overflowed, or that may have lost everything to underflow, in double.
  template <typename Fold>
  static double Wide(const Self& s, const std::byte* row, Fold fold) {
    double sum = 0;
    for (size_t i = 0; i < s.dim_; ++i) {
      float value;
      std::memcpy(&value, row + i * sizeof(float), sizeof(float));
      sum += fold(static_cast<double>(s.query_[i]), static_cast<double>(value));
    }
    return sum;
  }
  // Sums `fold` over the row, scaled by a power of two, in chunks of the query and the row.
  template <typename Fold>
  static double Scaled(const Self& s, const std::byte* row, float scale, Fold fold) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): written before it is read
    std::array<float, kChunk> chunk;
    double sum = 0;
    for (size_t begin = 0; begin < s.dim_; begin += kChunk) {
      const size_t count = std::min(kChunk, s.dim_ - begin);
      std::memcpy(chunk.data(), row + begin * sizeof(float), count * sizeof(float));
      for (size_t i = 0; i < count; ++i) chunk[i] *= scale;
      sum += static_cast<double>(fold(s.query_.data() + begin, chunk.data(), count));
    }
    return sum;
  }
  static float Narrow(double value) {
    constexpr double kMost = std::numeric_limits<float>::max();
    if (value > kMost) return std::numeric_limits<float>::infinity();
    if (value < -kMost) return -std::numeric_limits<float>::infinity();
    return static_cast<float>(value);
  }

  static float L2F32(const Self& s, const std::byte* row) {
    return s.ops_->l2_f32(s.query_.data(), As<float>(row), s.dim_);
  }
  // query_ is scaled, too.
  static float L2TinyF32(const Self& s, const std::byte* row) {
    constexpr double kInverse2 = 1 / (static_cast<double>(kTinyScale) * kTinyScale);
    const double sum = Scaled(s, row, kTinyScale, s.ops_->l2_f32);
    if (std::isfinite(sum)) return static_cast<float>(sum * kInverse2);
    return Narrow(kInverse2 * Wide(s, row, [](double q, double v) {
                    const double gap = q - v * kTinyScale;
                    return gap * gap;
                  }));
  }
  static float L2F16(const Self& s, const std::byte* row) {
    return s.ops_->l2_f16(s.query_.data(), As<uint16_t>(row), s.dim_);
  }
  static float L2I8(const Self& s, const std::byte* row) {
    return s.ops_->l2_i8(s.query_.data(), As<int8_t>(row), s.dim_);
  }
  static float L2U8(const Self& s, const std::byte* row) {
    return s.ops_->l2_u8(s.query_.data(), As<uint8_t>(row), s.dim_);
  }
  static float L2IntI8(const Self& s, const std::byte* row) {
    return static_cast<float>(s.ops_->int_l2_i8(QueryI8(s), As<int8_t>(row), s.dim_));
  }
  static float L2IntU8(const Self& s, const std::byte* row) {
    return static_cast<float>(s.ops_->int_l2_u8(s.bytes_.data(), As<uint8_t>(row), s.dim_));
  }

  static float DotF32(const Self& s, const std::byte* row) {
    const float dot = s.ops_->dot_f32(s.query_.data(), As<float>(row), s.dim_);
    if (std::isfinite(dot)) return -dot;
    return Narrow(-Wide(s, row, [](double q, double v) { return q * v; }));
  }
  static float DotF16(const Self& s, const std::byte* row) {
    const float dot = s.ops_->dot_f16(s.query_.data(), As<uint16_t>(row), s.dim_);
    if (std::isfinite(dot)) return -dot;
    double sum = 0;
    for (size_t i = 0; i < s.dim_; ++i) {
      sum += static_cast<double>(s.query_[i]) *
             base::F16ToF32(base::LoadU16(row + i * sizeof(uint16_t)));
    }
    return Narrow(-sum);
  }
  static float DotI8(const Self& s, const std::byte* row) {
    return BytesDot(s, As<int8_t>(row), s.ops_->dot_i8);
  }
  static float DotU8(const Self& s, const std::byte* row) {
    return BytesDot(s, As<uint8_t>(row), s.ops_->dot_u8);
  }
  template <typename T>
  static float BytesDot(const Self& s, const T* row,
                        float (*dot_of)(const float*, const T*, size_t)) {
    const float dot = dot_of(s.query_.data(), row, s.dim_);
    if (std::isfinite(dot)) return -dot;
    double sum = 0;
    for (size_t i = 0; i < s.dim_; ++i) sum += static_cast<double>(s.query_[i]) * row[i];
    return Narrow(-sum);
  }
  // query_ is scaled by 1 / unscale_.
  static float DotTiny(const Self& s, const std::byte* row) {
    return Narrow(static_cast<double>(s.unscaled_(s, row)) * s.unscale_);
  }
  static float DotIntI8(const Self& s, const std::byte* row) {
    return -static_cast<float>(s.ops_->int_dot_i8(QueryI8(s), As<int8_t>(row), s.dim_));
  }
  static float DotIntU8(const Self& s, const std::byte* row) {
    return -static_cast<float>(s.ops_->int_dot_u8(s.bytes_.data(), As<uint8_t>(row), s.dim_));
  }

  // A quotient that rounding has put a little outside of what a cosine can be.
  static float Clamped(float cosine) { return std::clamp(cosine, -1.0F, 1.0F); }
  // `dot` with the unit query.
  static float Cosine(float dot, float row_norm2) {
    return row_norm2 > 0 ? Clamped(-dot / std::sqrt(row_norm2)) : 0;
  }
  static float CosineF32(const Self& s, const std::byte* row) {
    const float norm2 = s.ops_->norm2_f32(As<float>(row), s.dim_);
    if (norm2 > kNorm2Least && norm2 < kNorm2Most) {
      return Cosine(s.ops_->dot_f32(s.query_.data(), As<float>(row), s.dim_), norm2);
    }
    return CosineOfExtreme(s, row, norm2 <= kNorm2Least ? kShortScale : kLongScale);
  }
  static float CosineOfExtreme(const Self& s, const std::byte* row, float scale) {
    const double norm2 =
        Scaled(s, row, scale, [&s](const float*, const float* chunk, size_t count) {
          return s.ops_->norm2_f32(chunk, count);
        });
    if (norm2 > kNorm2Least && norm2 < kNorm2Most) {
      const double dot = Scaled(s, row, scale, s.ops_->dot_f32);
      return Clamped(static_cast<float>(-dot / std::sqrt(norm2)));
    }
    const double wide = Wide(s, row, [](double, double v) { return v * v; });
    if (!(wide > 0)) return 0;
    const double dot = Wide(s, row, [](double q, double v) { return q * v; });
    return Clamped(static_cast<float>(-dot / std::sqrt(wide)));
  }
  static float CosineF16(const Self& s, const std::byte* row) {
    return Cosine(s.ops_->dot_f16(s.query_.data(), As<uint16_t>(row), s.dim_),
                  s.ops_->norm2_f16(As<uint16_t>(row), s.dim_));
  }
  static float NormI8(const Self& s, const std::byte* row) {
    return static_cast<float>(s.ops_->int_dot_i8(As<int8_t>(row), As<int8_t>(row), s.dim_));
  }
  static float NormU8(const Self& s, const std::byte* row) {
    return static_cast<float>(s.ops_->int_dot_u8(As<uint8_t>(row), As<uint8_t>(row), s.dim_));
  }
  static float CosineI8(const Self& s, const std::byte* row) {
    return Cosine(s.ops_->dot_i8(s.query_.data(), As<int8_t>(row), s.dim_), NormI8(s, row));
  }
  static float CosineU8(const Self& s, const std::byte* row) {
    return Cosine(s.ops_->dot_u8(s.query_.data(), As<uint8_t>(row), s.dim_), NormU8(s, row));
  }
  static float CosineIntI8(const Self& s, const std::byte* row) {
    return Cosine(-DotIntI8(s, row) * s.inverse_norm_, NormI8(s, row));
  }
  static float CosineIntU8(const Self& s, const std::byte* row) {
    return Cosine(-DotIntU8(s, row) * s.inverse_norm_, NormU8(s, row));
  }

  struct Row {
    Compare f32, f16, i8, u8, int_i8, int_u8;
  };

  static Compare Pick(base::Metric metric, base::ElementType type, bool integers) {
    static constexpr Row kL2{L2F32, L2F16, L2I8, L2U8, L2IntI8, L2IntU8};
    static constexpr Row kDot{DotF32, DotF16, DotI8, DotU8, DotIntI8, DotIntU8};
    static constexpr Row kCosine{CosineF32, CosineF16,   CosineI8,
                                 CosineU8,  CosineIntI8, CosineIntU8};
    const Row& row = metric == base::Metric::kL2             ? kL2
                     : metric == base::Metric::kInnerProduct ? kDot
                                                             : kCosine;
    switch (type) {
      case base::ElementType::kF32:
        return row.f32;
      case base::ElementType::kF16:
        return row.f16;
      case base::ElementType::kI8:
        return integers ? row.int_i8 : row.i8;
      case base::ElementType::kU8:
        return integers ? row.int_u8 : row.u8;
    }
    TESSERA_FATAL("element type out of range");
  }
};

void RowDistance::Prepare(base::Metric metric, base::ElementType type, std::span<const float> query,
                          const VectorOps& ops) {
  TESSERA_CHECK(!query.empty() && query.size() <= base::kDimMax);
  ops_ = &ops;
  dim_ = query.size();
  query_.assign(query.begin(), query.end());
  bytes_.clear();
  double norm2 = 0;
  for (const float value : query) norm2 += static_cast<double>(value) * value;
  inverse_norm_ = norm2 > 0 ? static_cast<float>(1 / std::sqrt(norm2)) : 0;
  const float low = type == base::ElementType::kI8 ? -128 : 0;
  const float high = type == base::ElementType::kI8 ? 127 : 255;
  bool integers = base::ElementBytes(type) == 1;
  for (size_t i = 0; i < dim_ && integers; ++i) {
    integers = query[i] >= low && query[i] <= high && query[i] == std::trunc(query[i]);
    if (integers) bytes_.push_back(static_cast<uint8_t>(static_cast<int>(query[i])));
  }
  if (metric == base::Metric::kCosine && norm2 > 0) {
    const double length = std::sqrt(norm2);
    for (float& value : query_) value = static_cast<float>(value / length);
  }
  compare_ = Forms::Pick(metric, type, integers);
  if (!integers && metric != base::Metric::kCosine) ScaleTinyQuery(metric, type);
}

void RowDistance::ScaleTinyQuery(base::Metric metric, base::ElementType type) {
  float largest = 0;
  for (const float value : query_) largest = std::max(largest, std::abs(value));
  if (metric == base::Metric::kL2) {
    if (type != base::ElementType::kF32 || largest > kTinyQuery) return;
    for (float& value : query_) value *= kTinyScale;
    compare_ = Forms::L2TinyF32;
    return;
  }
  if (largest == 0 || std::ilogb(largest) >= kDotExponentLeast) return;
  const int exponent = kDotExponentLeast - std::ilogb(largest);
  for (float& value : query_) value = std::ldexp(value, exponent);
  unscale_ = std::ldexp(1.0, -exponent);
  unscaled_ = compare_;
  compare_ = Forms::DotTiny;
}

}  // namespace tessera::index
