#include "index/codecs/rabitq_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/coding/coding.h"
#include "base/status_macros.h"
#include "index/codecs/rabitq_layout.h"
#include "index/kernels/fastscan.h"

namespace tessera::index {
namespace rabitq {

void StoreHeader(const PlaneHeader& header, std::byte* plane) {
  std::memset(plane, 0, kPlaneHeaderBytes);
  base::StoreU32(plane, kPlaneMagic);
  base::StoreU32(plane + 4, header.rows);
  base::StoreU32(plane + 8, header.lines);
  base::StoreF32(plane + 16, header.a.offset);
  base::StoreF32(plane + 20, header.a.scale);
  base::StoreF32(plane + 24, header.b.offset);
  base::StoreF32(plane + 28, header.b.scale);
}

PlaneHeader LoadHeader(const std::byte* plane) {
  return {.rows = base::LoadU32(plane + 4),
          .lines = base::LoadU32(plane + 8),
          .a = {base::LoadF32(plane + 16), base::LoadF32(plane + 20)},
          .b = {base::LoadF32(plane + 24), base::LoadF32(plane + 28)}};
}

}  // namespace rabitq

namespace {

constexpr uint8_t kVersion = 1;
constexpr float kProjectionMost = 2;

// Rounded up to whole cache lines when that costs at most an eighth: records then never straddle.
size_t FineBytes(uint32_t dim, uint32_t bits) {
  if (bits == 0) return 0;
  const size_t codes = bits == 4 ? (dim + 1) / 2 : dim;
  const size_t bytes = (rabitq::kFineFactorBytes + codes + 3) / 4 * 4;
  const size_t lines = (bytes + 63) / 64 * 64;
  return lines - bytes <= lines / 8 ? lines : bytes;
}

absl::Status Validate(const RaBitQParameters& p) {
  if (p.dim == 0 || p.dim > base::kDimMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("dim is ", p.dim, ", must be 1 .. ", base::kDimMax));
  }
  if (p.metric != base::Metric::kL2 && p.metric != base::Metric::kInnerProduct &&
      p.metric != base::Metric::kCosine) {
    return absl::InvalidArgumentError(
        absl::StrCat("metric is ", static_cast<int>(p.metric), ", must be 1 .. 3"));
  }
  if (p.code_dim == 0 || p.code_dim > p.dim) {
    return absl::InvalidArgumentError(
        absl::StrCat("code_dim is ", p.code_dim, ", must be 1 .. ", p.dim));
  }
  if (p.fine_bits != 0 && p.fine_bits != 4 && p.fine_bits != 8) {
    return absl::InvalidArgumentError(
        absl::StrCat("fine_bits is ", p.fine_bits, ", must be 0, 4 or 8"));
  }
  if (!(p.sigma > 0 && p.sigma <= 10)) {
    return absl::InvalidArgumentError(absl::StrCat("sigma is ", p.sigma, ", must be in (0, 10]"));
  }
  if (p.projection.size() != size_t{p.code_dim} * p.dim || p.mean.size() != p.dim) {
    return absl::InvalidArgumentError(absl::StrCat("projection and mean have ", p.projection.size(),
                                                   " and ", p.mean.size(), " components"));
  }
  const auto finite = [](float v) { return std::isfinite(v); };
  if (!std::all_of(p.mean.begin(), p.mean.end(), finite)) {
    return absl::InvalidArgumentError("mean has a NaN or infinite component");
  }
  // Rows near orthonormal: larger ones would overflow the sums of a query's table.
  const auto fits = [](float v) { return std::abs(v) <= kProjectionMost; };
  if (!std::all_of(p.projection.begin(), p.projection.end(), fits)) {
    return absl::InvalidArgumentError(
        absl::StrCat("projection has a component that is NaN or over ", kProjectionMost));
  }
  const bool centred = std::any_of(p.mean.begin(), p.mean.end(), [](float v) { return v != 0; });
  if (p.metric != base::Metric::kL2 && centred) {
    return absl::InvalidArgumentError("mean must be zero under inner product and cosine");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<RaBitQCodec>> RaBitQCodec::Create(RaBitQParameters parameters) {
  TESSERA_RETURN_IF_ERROR(Validate(parameters));
  return std::unique_ptr<RaBitQCodec>(new RaBitQCodec(std::move(parameters)));
}

RaBitQCodec::RaBitQCodec(RaBitQParameters parameters)
    : p_(std::move(parameters)),
      lines_(FastScanLines(p_.code_dim)),
      fine_bytes_(FineBytes(p_.dim, p_.fine_bits)) {
  for (size_t j = 0; j < p_.code_dim; ++j) {
    const FastScanPlace place = PlaceOfBit(j, lines_);
    line_of_.push_back(static_cast<uint32_t>(place.line * kFastScanLineBytes));
    bit_of_.push_back(static_cast<uint8_t>(place.bit));
    // A table's weights are in the order of the dimensions.
    TESSERA_CHECK(place.lookup * kFastScanGroupBits + place.position == j);
  }
  QuantiseProjection();
}

void RaBitQCodec::QuantiseProjection() {
  projection_bytes_.resize(p_.projection.size());
  for (size_t j = 0; j < p_.code_dim; ++j) {
    const float* axis = p_.projection.data() + j * p_.dim;
    float largest = 0;
    for (size_t i = 0; i < p_.dim; ++i) largest = std::max(largest, std::abs(axis[i]));
    const float step = largest / 127 > std::numeric_limits<float>::min() ? largest / 127 : 1.0F;
    for (size_t i = 0; i < p_.dim; ++i) {
      projection_bytes_[j * p_.dim + i] = static_cast<uint8_t>(std::lrint(axis[i] / step) + 128);
    }
    row_step_.push_back(step);
    row_step_norm2_ += step * step;
  }
}

size_t RaBitQCodec::CodePlaneBytes(size_t rows) const {
  return rabitq::kPlaneHeaderBytes + BlockCount(rows) * FastScanBlockBytes(lines_);
}

size_t RaBitQCodec::memory_bytes() const {
  return sizeof(*this) + (p_.projection.capacity() + p_.mean.capacity()) * sizeof(float) +
         projection_bytes_.capacity() + p_.code_dim * (sizeof(uint32_t) + 1 + sizeof(float));
}

void RaBitQCodec::DecodeRow(const float* head, const std::byte* code_plane, uint32_t slot,
                            const std::byte* fine_record, float* row) const {
  std::copy_n(head, p_.dim, row);
  if (fine_record != nullptr) {
    const float gain = base::LoadF32(fine_record);
    const std::byte* codes = fine_record + rabitq::kFineFactorBytes;
    const size_t half = (p_.dim + 1) / 2;
    for (size_t i = 0; i < p_.dim; ++i) {
      if (p_.fine_bits == 4) {
        const auto both = std::to_integer<unsigned>(codes[i % half]);
        row[i] += gain * (static_cast<float>(i < half ? both & 15 : both >> 4) - 7.5F);
      } else {
        row[i] += gain * (static_cast<float>(std::to_integer<unsigned>(codes[i])) - 127.5F);
      }
    }
    return;
  }
  const rabitq::PlaneHeader header = rabitq::LoadHeader(code_plane);
  const std::byte* block =
      code_plane + rabitq::kPlaneHeaderBytes + slot / kBlockRows * FastScanBlockBytes(lines_);
  const size_t in_block = slot % kBlockRows;
  const float b = header.b.offset + header.b.scale * static_cast<float>(std::to_integer<unsigned>(
                                                         block[kFastScanRows + in_block]));
  const float quarter_f = 0.25F / b;  // f / 2: what a code of one half stands for
  for (size_t j = 0; j < p_.code_dim; ++j) {
    const std::byte byte = block[kFastScanFactorBytes + line_of_[j] + in_block];
    const bool set = ((std::to_integer<unsigned>(byte) >> bit_of_[j]) & 1) != 0;
    const float* axis = p_.projection.data() + j * p_.dim;
    for (size_t i = 0; i < p_.dim; ++i) row[i] += (set ? quarter_f : -quarter_f) * axis[i];
  }
}

absl::Status RaBitQCodec::ValidateCodePlane(std::span<const std::byte> plane, size_t rows) const {
  if (plane.size() != CodePlaneBytes(rows)) {
    return absl::DataLossError(absl::StrCat("code plane of ", rows, " rows has ", plane.size(),
                                            " bytes, must have ", CodePlaneBytes(rows)));
  }
  if (base::LoadU32(plane.data()) != rabitq::kPlaneMagic) {
    return absl::DataLossError("code plane does not begin with its magic number");
  }
  const rabitq::PlaneHeader header = rabitq::LoadHeader(plane.data());
  if (header.rows != rows || header.lines != lines_) {
    return absl::DataLossError(absl::StrCat("code plane says ", header.rows, " rows of ",
                                            header.lines, " lines, must be ", rows, " of ",
                                            lines_));
  }
  const bool reserved_zero =
      base::LoadU32(plane.data() + 12) == 0 &&
      std::all_of(plane.begin() + 32, plane.begin() + rabitq::kPlaneHeaderBytes,
                  [](std::byte b) { return b == std::byte{0}; });
  if (!reserved_zero) return absl::DataLossError("code plane has reserved bytes that are not zero");
  const float b_most = header.b.offset + 255 * header.b.scale;
  if (!std::isfinite(header.a.offset) || !std::isfinite(header.a.offset + 255 * header.a.scale) ||
      !(header.a.scale >= 0) || !(header.b.offset > 0) || !(header.b.scale >= 0) ||
      !std::isfinite(b_most)) {
    return absl::DataLossError(absl::StrCat("code plane has factor ranges ", header.a.offset, " + ",
                                            header.a.scale, " a and ", header.b.offset, " + ",
                                            header.b.scale, " b"));
  }
  return absl::OkStatus();
}

absl::Status RaBitQCodec::ValidateFinePlane(std::span<const std::byte> plane, size_t rows) const {
  if (plane.size() != rows * fine_bytes_) {
    return absl::DataLossError(absl::StrCat("fine plane of ", rows, " rows has ", plane.size(),
                                            " bytes, must have ", rows * fine_bytes_));
  }
  for (size_t row = 0; row < rows && fine_bytes_ != 0; ++row) {
    const float gain = base::LoadF32(plane.data() + row * fine_bytes_);
    const float shift = base::LoadF32(plane.data() + row * fine_bytes_ + 4);
    if (!std::isfinite(gain) || !std::isfinite(shift)) {
      return absl::DataLossError(
          absl::StrCat("fine record ", row, " has factors ", gain, " and ", shift));
    }
  }
  return absl::OkStatus();
}

std::string RaBitQCodec::Serialize() const {
  std::string payload;
  base::PutU8(&payload, kVersion);
  base::PutU32(&payload, p_.dim);
  base::PutU8(&payload, static_cast<uint8_t>(p_.metric));
  base::PutU32(&payload, p_.code_dim);
  base::PutU8(&payload, static_cast<uint8_t>(p_.fine_bits));
  base::PutF32(&payload, p_.sigma);
  for (const float value : p_.projection) base::PutF32(&payload, value);
  for (const float value : p_.mean) base::PutF32(&payload, value);
  return FrameCodec(CodecKind::kRaBitQ, payload);
}

absl::StatusOr<std::unique_ptr<Codec>> RaBitQCodec::Deserialize(std::string_view payload) {
  base::Decoder in(payload);
  RaBitQParameters p;
  uint8_t version = 0;
  uint8_t metric = 0;
  uint8_t fine_bits = 0;
  TESSERA_RETURN_IF_ERROR(in.U8(&version));
  if (version > kVersion) {
    return absl::UnimplementedError(
        absl::StrCat("RaBitQ codec of version ", version, ", this build reads up to ", kVersion));
  }
  if (version == 0) return absl::DataLossError("RaBitQ codec of version 0");
  TESSERA_RETURN_IF_ERROR(in.U32(&p.dim));
  TESSERA_RETURN_IF_ERROR(in.U8(&metric));
  TESSERA_RETURN_IF_ERROR(in.U32(&p.code_dim));
  TESSERA_RETURN_IF_ERROR(in.U8(&fine_bits));
  TESSERA_RETURN_IF_ERROR(in.F32(&p.sigma));
  p.metric = static_cast<base::Metric>(metric);
  p.fine_bits = fine_bits;
  // Sizes are checked against the bytes at hand before anything is allocated.
  if (p.dim == 0 || p.dim > base::kDimMax || p.code_dim == 0 || p.code_dim > p.dim ||
      in.remaining() != (uint64_t{p.code_dim} * p.dim + p.dim) * sizeof(float)) {
    return absl::DataLossError(absl::StrCat("RaBitQ codec of ", p.code_dim, " of ", p.dim,
                                            " dimensions has ", in.remaining(),
                                            " bytes of matrix"));
  }
  p.projection.resize(size_t{p.code_dim} * p.dim);
  p.mean.resize(p.dim);
  for (float& value : p.projection) TESSERA_RETURN_IF_ERROR(in.F32(&value));
  for (float& value : p.mean) TESSERA_RETURN_IF_ERROR(in.F32(&value));
  absl::StatusOr<std::unique_ptr<RaBitQCodec>> codec = Create(std::move(p));
  if (!codec.ok()) {
    return absl::DataLossError(absl::StrCat("RaBitQ codec: ", codec.status().message()));
  }
  return *std::move(codec);
}

}  // namespace tessera::index
