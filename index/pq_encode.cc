#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/check.h"
#include "index/kernels/pq_scan.h"
#include "index/pq_codec.h"
#include "index/pq_layout.h"

namespace tessera::index {
namespace {

// Finite whatever the rows are.
float ClampedFloat(double value) {
  constexpr double kMost = std::numeric_limits<float>::max() / 4;
  return static_cast<float>(std::clamp(std::isnan(value) ? 0.0 : value, -kMost, kMost));
}

}  // namespace

void PqCodec::Quantise(const float* residual, uint8_t* codes, float* words) const {
  const size_t dictionaries = PqDictionaries(p_.dim);
  for (size_t m = 0; m < dictionaries; ++m) {
    const float* dictionary = p_.words.data() + m * kPqWords * kPqWordDims;
    const size_t first = m * kPqWordDims;
    const bool whole = first + 1 < p_.dim;
    const float x = residual[first];
    const float y = whole ? residual[first + 1] : 0.0F;
    float distances[kPqWords];
    for (size_t w = 0; w < kPqWords; ++w) {
      const float dx = x - dictionary[w * kPqWordDims];
      const float dy = y - dictionary[w * kPqWordDims + 1];
      distances[w] = dx * dx + dy * dy;
    }
    size_t best = 0;
    for (size_t w = 1; w < kPqWords; ++w) best = distances[w] < distances[best] ? w : best;
    if (codes != nullptr) codes[m] = static_cast<uint8_t>(best);
    if (words == nullptr) continue;
    words[first] = dictionary[best * kPqWordDims];
    if (whole) words[first + 1] = dictionary[best * kPqWordDims + 1];
  }
}

// A of pq_codec.h.
double PqCodec::RowFactor(const float* head, const float* residual, const float* words) const {
  double factor = 0;
  for (size_t j = 0; j < p_.dim; ++j) {
    const double r = residual[j];
    const double word = words[j];
    if (by_dot()) {
      factor += 2 * (word - r) * head[j];
    } else {
      factor += r * r + 2 * (static_cast<double>(head[j]) - p_.mean[j]) * word;
    }
  }
  return factor;
}

void PqCodec::EncodeList(const float* head, const float* rows, size_t row_count,
                         std::byte* code_plane, std::byte* fine_plane) const {
  TESSERA_CHECK(row_count <= kListRowsMax);
  std::memset(code_plane, 0, CodePlaneBytes(row_count));
  std::vector<float> residual(p_.dim);
  std::vector<float> words(p_.dim);
  std::vector<uint8_t> codes(2 * lines_, 0);
  std::vector<float> factors(row_count);
  double error2 = 0;
  for (size_t row = 0; row < row_count; ++row) {
    for (size_t j = 0; j < p_.dim; ++j) residual[j] = rows[row * p_.dim + j] - head[j];
    Quantise(residual.data(), codes.data(), words.data());
    factors[row] = ClampedFloat(RowFactor(head, residual.data(), words.data()));
    for (size_t j = 0; j < p_.dim; ++j) {
      const double gap = static_cast<double>(residual[j]) - words[j];
      error2 += gap * gap;
    }
    std::byte* place = code_plane + pq::kPlaneHeaderBytes +
                       row / kBlockRows * PqScanBlockBytes(lines_) + kPqScanRows + row % kBlockRows;
    for (size_t line = 0; line < lines_; ++line) {
      place[line * kPqScanRows] =
          static_cast<std::byte>(codes[2 * line] | codes[2 * line + 1] << 4);
    }
  }
  pq::PlaneHeader header{.rows = static_cast<uint32_t>(row_count),
                         .lines = static_cast<uint32_t>(lines_)};
  if (row_count > 0) {
    const auto [low, high] = std::minmax_element(factors.begin(), factors.end());
    header.a_offset = *low;
    header.a_scale = ClampedFloat((static_cast<double>(*high) - *low) / 255);
    header.error = ClampedFloat(std::sqrt(error2 / static_cast<double>(row_count)));
  }
  pq::StoreHeader(header, code_plane);
  for (size_t row = 0; row < row_count && header.a_scale > 0; ++row) {
    const double step =
        std::round((static_cast<double>(factors[row]) - header.a_offset) / header.a_scale);
    code_plane[pq::kPlaneHeaderBytes + row / kBlockRows * PqScanBlockBytes(lines_) +
               row % kBlockRows] =
        static_cast<std::byte>(static_cast<uint8_t>(std::clamp(step, 0.0, 255.0)));
  }
  if (fine_ == nullptr) return;
  std::vector<std::byte> unused(fine_->CodePlaneBytes(row_count));
  fine_->EncodeList(head, rows, row_count, unused.data(), fine_plane);
}

}  // namespace tessera::index
