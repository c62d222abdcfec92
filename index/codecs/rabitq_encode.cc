#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/check.h"
#include "base/coding/coding.h"
#include "index/codecs/grid_code.h"
#include "index/codecs/rabitq_codec.h"
#include "index/codecs/rabitq_layout.h"
#include "index/kernels/codec_kernels.h"
#include "index/kernels/fastscan.h"
#include "index/kernels/vector_ops.h"
#include "index/matrix.h"

namespace tessera::index {

struct RaBitQCodec::RowFactors {
  Extent extent;        // of r
  double norm2 = 0;     // |r|^2
  double code_dot = 0;  // <x', c'>
  double head_dot = 0;  // <r, c>
  double gain = 0;      // f
};

struct RaBitQCodec::ListHead {
  const float* head;
  std::vector<float> centred;  // c - mu
  std::vector<float> code;     // c'
  double centred_sum = 0;
  double norm2 = 0;  // |c|^2
};

namespace {

// The least part of a list's largest f that a row's own f may be.
constexpr double kGainFloor = 1.0 / 8;
// Rows rotated by one matrix product.
constexpr size_t kBatchRows = 256;
// Squared lengths up to this, and down to its inverse, are summed in f32.
constexpr double kSumMost = 1e30;

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

RaBitQCodec::ListHead RaBitQCodec::HeadOf(const float* head) const {
  ListHead list{.head = head, .centred = std::vector<float>(p_.dim), .code = {}};
  for (size_t i = 0; i < p_.dim; ++i) {
    list.centred[i] = head[i] - p_.mean[i];
    list.centred_sum += list.centred[i];
    list.norm2 += static_cast<double>(head[i]) * head[i];
  }
  list.code.resize(p_.code_dim);
  MultiplyTransposed(list.centred.data(), 1, p_.projection.data(), p_.code_dim, p_.dim,
                     list.code.data());
  return list;
}

RaBitQCodec::RowFactors RaBitQCodec::FactorsOf(const ListHead& list, const float* residual,
                                               const float* code) const {
  const CodecKernels& kernels = ActiveCodecKernels();
  RowFactors factors;
  factors.extent = kernels.extent(residual, p_.dim);
  const SignSums signs = kernels.sign_sums(code, list.code.data(), p_.code_dim);
  factors.norm2 = factors.extent.norm2;
  factors.head_dot = ActiveVectorOps().dot_f32(residual, list.head, p_.dim);
  double kept_norm2 = signs.norm2;
  double magnitude = signs.magnitude;
  double code_dot = signs.other;
  const bool fits = factors.norm2 < kSumMost && list.norm2 < kSumMost &&
                    (factors.norm2 > 1 / kSumMost || factors.extent.largest == 0);
  if (!fits) {
    // Sums that f32 cannot hold.
    factors.norm2 = factors.head_dot = kept_norm2 = magnitude = code_dot = 0;
    for (size_t i = 0; i < p_.dim; ++i) {
      factors.norm2 += static_cast<double>(residual[i]) * residual[i];
      factors.head_dot += static_cast<double>(residual[i]) * list.head[i];
    }
    for (size_t j = 0; j < p_.code_dim; ++j) {
      kept_norm2 += static_cast<double>(code[j]) * code[j];
      magnitude += std::abs(static_cast<double>(code[j]));
      code_dot += code[j] > 0 ? list.code[j] : -list.code[j];
    }
  }
  factors.code_dot = code_dot / 2;
  factors.gain = magnitude > 0 ? 2 * kept_norm2 / magnitude : 0;
  return factors;
}

void RaBitQCodec::EncodeFine(const ListHead& list, const RowFactors& factors, const float* residual,
                             std::byte* record) const {
  std::memset(record, 0, fine_bytes_);
  std::byte* packed = record + rabitq::kFineFactorBytes;
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): written before it is read
  std::array<uint8_t, 2048> on_stack;
  std::vector<uint8_t> on_heap(p_.dim > on_stack.size() ? p_.dim : 0);
  uint8_t* codes = on_heap.empty() ? on_stack.data() : on_heap.data();
  const double code_residual =
      QuantiseOnGrid(ActiveCodecKernels(), residual, p_.dim, factors.extent, p_.fine_bits, codes);
  const double middle = p_.fine_bits == 4 ? 7.5 : 127.5;
  double code_head = ActiveVectorOps().dot_u8(list.centred.data(), codes, p_.dim);
  code_head -= middle * list.centred_sum;
  if (!std::isfinite(code_head)) {
    code_head = 0;
    for (size_t i = 0; i < p_.dim; ++i) {
      code_head += (codes[i] - middle) * static_cast<double>(list.centred[i]);
    }
  }
  const double gain = code_residual > 0 ? factors.norm2 / code_residual : 0;
  const double shift =
      by_dot() ? 2 * (gain * code_head - factors.head_dot) : factors.norm2 + 2 * gain * code_head;
  base::StoreF32(record, ClampedFloat(gain));
  base::StoreF32(record + 4, ClampedFloat(shift));
  if (p_.fine_bits == 8) {
    std::memcpy(packed, codes, p_.dim);
    return;
  }
  const size_t half = (p_.dim + 1) / 2;
  for (size_t i = 0; i < p_.dim - half; ++i) {
    packed[i] = static_cast<std::byte>(codes[i] | codes[half + i] << 4);
  }
  if (p_.dim % 2 != 0) packed[half - 1] = static_cast<std::byte>(codes[half - 1]);
}

void RaBitQCodec::StoreBits(const float* code, std::byte* row_codes) const {
  for (size_t j = 0; j < p_.code_dim; ++j) {
    if (code[j] > 0) row_codes[line_of_[j]] |= static_cast<std::byte>(1U << bit_of_[j]);
  }
}

void RaBitQCodec::EncodeList(const float* head, const float* rows, size_t row_count,
                             std::byte* code_plane, std::byte* fine_plane) const {
  TESSERA_CHECK(row_count <= kListRowsMax);
  const size_t dim = p_.dim;
  const ListHead list = HeadOf(head);
  std::memset(code_plane, 0, CodePlaneBytes(row_count));
  std::vector<RowFactors> factors(row_count);
  const size_t batch_rows = std::min(row_count, kBatchRows);
  std::vector<float> residuals(batch_rows * dim);
  std::vector<float> codes(batch_rows * p_.code_dim);
  for (size_t first = 0; first < row_count; first += batch_rows) {
    const size_t count = std::min(batch_rows, row_count - first);
    for (size_t row = 0; row < count; ++row) {
      const float* in = rows + (first + row) * dim;
      float* residual = residuals.data() + row * dim;
      for (size_t i = 0; i < dim; ++i) residual[i] = in[i] - head[i];
    }
    MultiplyTransposed(residuals.data(), count, p_.projection.data(), p_.code_dim, dim,
                       codes.data());
    for (size_t row = 0; row < count; ++row) {
      const size_t slot = first + row;
      const float* residual = residuals.data() + row * dim;
      const float* code = codes.data() + row * p_.code_dim;
      factors[slot] = FactorsOf(list, residual, code);
      StoreBits(code, code_plane + rabitq::kPlaneHeaderBytes +
                          slot / kBlockRows * FastScanBlockBytes(lines_) + kFastScanFactorBytes +
                          slot % kBlockRows);
      if (fine_bytes_ == 0) continue;
      EncodeFine(list, factors[slot], residual, fine_plane + slot * fine_bytes_);
    }
  }
  StoreFactors(list, factors, code_plane);
}

void RaBitQCodec::StoreFactors(const ListHead& list, const std::vector<RowFactors>& factors,
                               std::byte* code_plane) const {
  double largest = 0;
  for (const RowFactors& row : factors) largest = std::max(largest, row.gain);
  // When every row lies on its head the base alone decides: any gain well below distances will do.
  const double floor = std::max({largest * kGainFloor, 1e-6 * std::sqrt(list.norm2), 1e-18});
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
