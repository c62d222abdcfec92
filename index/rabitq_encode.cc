#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/check.h"
#include "base/coding.h"
#include "index/caq.h"
#include "index/kernels/fastscan.h"
#include "index/matrix.h"
#include "index/rabitq_codec.h"
#include "index/rabitq_layout.h"

namespace tessera::index {

struct RaBitQCodec::RowFactors {
  double norm2 = 0;     // |r|^2
  double code_dot = 0;  // <x', c'>
  double head_dot = 0;  // <r, c>
  double gain = 0;      // f
};

namespace {

// The least part of a list's largest f that a row's own f may be.
constexpr double kGainFloor = 1.0 / 8;
constexpr int kAdjustRounds = 6;

// Finite whatever the rows are.
float ClampedFloat(double value) {
  constexpr double kMost = std::numeric_limits<float>::max() / 4;
  return static_cast<float>(std::clamp(std::isnan(value) ? 0.0 : value, -kMost, kMost));
}

rabitq::FactorRange RangeOf(const std::vector<double>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  rabitq::FactorRange range;
  range.offset = ClampedFloat(*low);
  range.scale = ClampedFloat((ClampedFloat(*high) - static_cast<double>(range.offset)) / 255);
  return range;
}

std::byte Quantised(double value, const rabitq::FactorRange& range) {
  if (range.scale <= 0) return std::byte{0};
  const double step = std::round((value - range.offset) / range.scale);
  return static_cast<std::byte>(static_cast<uint8_t>(std::clamp(step, 0.0, 255.0)));
}

}  // namespace

RaBitQCodec::RowFactors RaBitQCodec::FactorsOf(const float* residual, const float* code,
                                               const float* head, const float* head_code) const {
  RowFactors factors;
  double kept_norm2 = 0;
  double magnitude = 0;
  for (size_t j = 0; j < p_.code_dim; ++j) {
    const double value = code[j];
    kept_norm2 += value * value;
    magnitude += std::abs(value);
    factors.code_dot += code[j] > 0 ? head_code[j] : -head_code[j];
  }
  factors.code_dot /= 2;
  for (size_t i = 0; i < p_.dim; ++i) {
    factors.norm2 += static_cast<double>(residual[i]) * residual[i];
    factors.head_dot += static_cast<double>(residual[i]) * head[i];
  }
  factors.gain = magnitude > 0 ? 2 * kept_norm2 / magnitude : 0;
  return factors;
}

void RaBitQCodec::EncodeFine(const float* residual, const float* head, std::byte* record) const {
  std::memset(record, 0, fine_bytes_);
  std::vector<uint8_t> codes(p_.dim);
  const double delta = QuantiseAligned(residual, p_.dim, p_.fine_bits,
                                       p_.fine_bits <= 4 ? kAdjustRounds : 0, codes.data());
  const double middle = p_.fine_bits == 4 ? 7.5 : 127.5;
  double norm2 = 0;
  double code_residual = 0;
  double code_head = 0;
  double head_residual = 0;
  for (size_t i = 0; i < p_.dim; ++i) {
    const double y = codes[i] - middle;
    norm2 += static_cast<double>(residual[i]) * residual[i];
    code_residual += y * residual[i];
    code_head += y * (static_cast<double>(head[i]) - p_.mean[i]);
    head_residual += static_cast<double>(residual[i]) * head[i];
  }
  const double gain = delta > 0 && code_residual > 0 ? norm2 / code_residual : 0;
  const double shift =
      by_dot() ? 2 * (gain * code_head - head_residual) : norm2 + 2 * gain * code_head;
  base::StoreF32(record, ClampedFloat(gain));
  base::StoreF32(record + 4, ClampedFloat(shift));
  std::byte* packed = record + rabitq::kFineFactorBytes;
  const size_t half = (p_.dim + 1) / 2;
  for (size_t i = 0; i < p_.dim; ++i) {
    if (p_.fine_bits == 8) {
      packed[i] = static_cast<std::byte>(codes[i]);
    } else {
      packed[i % half] |= static_cast<std::byte>(i < half ? codes[i] : codes[i] << 4);
    }
  }
}

void RaBitQCodec::EncodeList(const float* head, const float* rows, size_t row_count,
                             std::byte* code_plane, std::byte* fine_plane) const {
  TESSERA_CHECK(row_count <= kListRowsMax);
  const size_t dim = p_.dim;
  const size_t code_dim = p_.code_dim;
  std::vector<float> centred(dim);
  for (size_t i = 0; i < dim; ++i) centred[i] = head[i] - p_.mean[i];
  std::vector<float> head_code(code_dim);
  MultiplyTransposed(centred.data(), 1, p_.projection.data(), code_dim, dim, head_code.data());

  std::memset(code_plane, 0, CodePlaneBytes(row_count));
  std::vector<RowFactors> factors(row_count);
  const size_t batch_rows = std::min(row_count, kBlockRows);
  std::vector<float> residuals(batch_rows * dim);
  std::vector<float> codes(batch_rows * code_dim);
  for (size_t first = 0; first < row_count; first += kBlockRows) {
    const size_t count = std::min(kBlockRows, row_count - first);
    for (size_t row = 0; row < count; ++row) {
      for (size_t i = 0; i < dim; ++i) {
        residuals[row * dim + i] = rows[(first + row) * dim + i] - head[i];
      }
    }
    MultiplyTransposed(residuals.data(), count, p_.projection.data(), code_dim, dim, codes.data());
    std::byte* block = code_plane + rabitq::kPlaneHeaderBytes +
                       first / kBlockRows * FastScanBlockBytes(lines_) + kFastScanFactorBytes;
    for (size_t row = 0; row < count; ++row) {
      const float* residual = residuals.data() + row * dim;
      const float* code = codes.data() + row * code_dim;
      factors[first + row] = FactorsOf(residual, code, head, head_code.data());
      for (size_t j = 0; j < code_dim; ++j) {
        if (code[j] > 0) block[line_of_[j] + row] |= static_cast<std::byte>(1U << bit_of_[j]);
      }
      if (fine_bytes_ != 0) EncodeFine(residual, head, fine_plane + (first + row) * fine_bytes_);
    }
  }
  StoreFactors(head, factors, code_plane);
}

void RaBitQCodec::StoreFactors(const float* head, const std::vector<RowFactors>& factors,
                               std::byte* code_plane) const {
  double largest = 0;
  for (const RowFactors& row : factors) largest = std::max(largest, row.gain);
  double head_norm2 = 0;
  for (size_t i = 0; i < p_.dim; ++i) head_norm2 += static_cast<double>(head[i]) * head[i];
  // When every row lies on its head the base alone decides: any gain well below distances will do.
  const double floor = std::max({largest * kGainFloor, 1e-6 * std::sqrt(head_norm2), 1e-18});
  std::vector<double> a;
  std::vector<double> b;
  for (const RowFactors& row : factors) {
    b.push_back(1 / (2 * std::max(row.gain, floor)));
    a.push_back(by_dot() ? row.code_dot - 2 * row.head_dot * b.back()
                         : row.code_dot + row.norm2 * b.back());
  }
  rabitq::PlaneHeader header;
  header.rows = static_cast<uint32_t>(factors.size());
  header.lines = static_cast<uint32_t>(lines_);
  header.b.offset = 1;
  if (!factors.empty()) {
    header.a = RangeOf(a);
    header.b = RangeOf(b);
  }
  rabitq::StoreHeader(header, code_plane);
  for (size_t row = 0; row < factors.size(); ++row) {
    std::byte* block = code_plane + rabitq::kPlaneHeaderBytes +
                       row / kBlockRows * FastScanBlockBytes(lines_) + row % kBlockRows;
    block[0] = Quantised(a[row], header.a);
    block[kFastScanRows] = Quantised(b[row], header.b);
  }
}

}  // namespace tessera::index
