#include "index/pq_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/coding.h"
#include "base/status_macros.h"
#include "index/kernels/pq_scan.h"
#include "index/pq_layout.h"

namespace tessera::index {
namespace pq {

void StoreHeader(const PlaneHeader& header, std::byte* plane) {
  std::memset(plane, 0, kPlaneHeaderBytes);
  base::StoreU32(plane, kPlaneMagic);
  base::StoreU32(plane + 4, header.rows);
  base::StoreU32(plane + 8, header.lines);
  base::StoreF32(plane + 16, header.a_offset);
  base::StoreF32(plane + 20, header.a_scale);
  base::StoreF32(plane + 24, header.error);
}

PlaneHeader LoadHeader(const std::byte* plane) {
  return {.rows = base::LoadU32(plane + 4),
          .lines = base::LoadU32(plane + 8),
          .a_offset = base::LoadF32(plane + 16),
          .a_scale = base::LoadF32(plane + 20),
          .error = base::LoadF32(plane + 24)};
}

}  // namespace pq

namespace {

constexpr uint8_t kVersion = 1;
// Products of words and queries, and sums of them, stay finite.
constexpr float kWordMost = 1e18F;

absl::Status Validate(const PqParameters& p) {
  if (p.dim == 0 || p.dim > base::kDimMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("dim is ", p.dim, ", must be 1 .. ", base::kDimMax));
  }
  if (p.metric != base::Metric::kL2 && p.metric != base::Metric::kInnerProduct &&
      p.metric != base::Metric::kCosine) {
    return absl::InvalidArgumentError(
        absl::StrCat("metric is ", static_cast<int>(p.metric), ", must be 1 .. 3"));
  }
  if (p.fine_bits != 0 && p.fine_bits != 4 && p.fine_bits != 8) {
    return absl::InvalidArgumentError(
        absl::StrCat("fine_bits is ", p.fine_bits, ", must be 0, 4 or 8"));
  }
  if (!(p.sigma > 0 && p.sigma <= 10)) {
    return absl::InvalidArgumentError(absl::StrCat("sigma is ", p.sigma, ", must be in (0, 10]"));
  }
  if (p.words.size() != PqDictionaries(p.dim) * kPqWords * kPqWordDims || p.mean.size() != p.dim) {
    return absl::InvalidArgumentError(absl::StrCat("words and mean have ", p.words.size(), " and ",
                                                   p.mean.size(), " components"));
  }
  const auto usable = [](float v) { return std::abs(v) <= kWordMost; };
  if (!std::all_of(p.words.begin(), p.words.end(), usable) ||
      !std::all_of(p.mean.begin(), p.mean.end(), [](float v) { return std::isfinite(v); })) {
    return absl::InvalidArgumentError("words or mean have a NaN or too large a component");
  }
  const bool centred = std::any_of(p.mean.begin(), p.mean.end(), [](float v) { return v != 0; });
  if (p.metric != base::Metric::kL2 && centred) {
    return absl::InvalidArgumentError("mean must be zero under inner product and cosine");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<PqCodec>> PqCodec::Create(PqParameters parameters) {
  TESSERA_RETURN_IF_ERROR(Validate(parameters));
  std::unique_ptr<RaBitQCodec> fine;
  if (parameters.fine_bits != 0) {
    // Its code plane is not used: one dimension is the least there is.
    RaBitQParameters p{.dim = parameters.dim,
                       .metric = parameters.metric,
                       .code_dim = 1,
                       .fine_bits = parameters.fine_bits,
                       .sigma = 1,
                       .projection = std::vector<float>(parameters.dim, 0.0F),
                       .mean = parameters.mean};
    p.projection[0] = 1;
    TESSERA_ASSIGN_OR_RETURN(fine, RaBitQCodec::Create(std::move(p)));
  }
  return std::unique_ptr<PqCodec>(new PqCodec(std::move(parameters), std::move(fine)));
}

PqCodec::PqCodec(PqParameters parameters, std::unique_ptr<RaBitQCodec> fine)
    : p_(std::move(parameters)), lines_((PqDictionaries(p_.dim) + 1) / 2), fine_(std::move(fine)) {}

size_t PqCodec::CodePlaneBytes(size_t rows) const {
  return pq::kPlaneHeaderBytes + BlockCount(rows) * PqScanBlockBytes(lines_);
}

size_t PqCodec::FineRecordBytes() const {
  return fine_ == nullptr ? 0 : fine_->FineRecordBytes();
}

size_t PqCodec::memory_bytes() const {
  return sizeof(*this) + (p_.words.capacity() + p_.mean.capacity()) * sizeof(float) +
         (fine_ == nullptr ? 0 : fine_->memory_bytes());
}

void PqCodec::DecodeRow(const float* head, const std::byte* code_plane, uint32_t slot,
                        const std::byte* fine_record, float* row) const {
  if (fine_record != nullptr) {
    fine_->DecodeRow(head, nullptr, slot, fine_record, row);
    return;
  }
  const std::byte* block = code_plane + pq::kPlaneHeaderBytes +
                           slot / kBlockRows * PqScanBlockBytes(lines_) + kPqScanRows;
  for (size_t j = 0; j < p_.dim; ++j) {
    const size_t dictionary = j / kPqWordDims;
    const auto both =
        std::to_integer<unsigned>(block[dictionary / 2 * kPqScanRows + slot % kBlockRows]);
    const unsigned code = dictionary % 2 == 0 ? both & 15 : both >> 4;
    row[j] = head[j] + p_.words[(dictionary * kPqWords + code) * kPqWordDims + j % kPqWordDims];
  }
}

absl::Status PqCodec::ValidateCodePlane(std::span<const std::byte> plane, size_t rows) const {
  if (plane.size() != CodePlaneBytes(rows)) {
    return absl::DataLossError(absl::StrCat("code plane of ", rows, " rows has ", plane.size(),
                                            " bytes, must have ", CodePlaneBytes(rows)));
  }
  if (base::LoadU32(plane.data()) != pq::kPlaneMagic) {
    return absl::DataLossError("code plane does not begin with its magic number");
  }
  const pq::PlaneHeader header = pq::LoadHeader(plane.data());
  if (header.rows != rows || header.lines != lines_) {
    return absl::DataLossError(absl::StrCat("code plane says ", header.rows, " rows of ",
                                            header.lines, " lines, must be ", rows, " of ",
                                            lines_));
  }
  const bool reserved_zero = base::LoadU32(plane.data() + 12) == 0 &&
                             std::all_of(plane.begin() + 28, plane.begin() + pq::kPlaneHeaderBytes,
                                         [](std::byte b) { return b == std::byte{0}; });
  if (!reserved_zero) return absl::DataLossError("code plane has reserved bytes that are not zero");
  if (!std::isfinite(header.a_offset) || !(header.a_scale >= 0) ||
      !std::isfinite(header.a_offset + 255 * header.a_scale) || !(header.error >= 0) ||
      !std::isfinite(header.error)) {
    return absl::DataLossError(absl::StrCat("code plane has factors ", header.a_offset, " + ",
                                            header.a_scale, " a and error ", header.error));
  }
  return absl::OkStatus();
}

absl::Status PqCodec::ValidateFinePlane(std::span<const std::byte> plane, size_t rows) const {
  if (fine_ != nullptr) return fine_->ValidateFinePlane(plane, rows);
  if (plane.empty()) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("fine plane has ", plane.size(), " bytes, must have none"));
}

std::string PqCodec::Serialize() const {
  std::string payload;
  base::PutU8(&payload, kVersion);
  base::PutU32(&payload, p_.dim);
  base::PutU8(&payload, static_cast<uint8_t>(p_.metric));
  base::PutU8(&payload, static_cast<uint8_t>(p_.fine_bits));
  base::PutF32(&payload, p_.sigma);
  for (const float value : p_.words) base::PutF32(&payload, value);
  for (const float value : p_.mean) base::PutF32(&payload, value);
  return FrameCodec(CodecKind::kPq, payload);
}

absl::StatusOr<std::unique_ptr<Codec>> PqCodec::Deserialize(std::string_view payload) {
  base::Decoder in(payload);
  PqParameters p;
  uint8_t version = 0;
  uint8_t metric = 0;
  uint8_t fine_bits = 0;
  TESSERA_RETURN_IF_ERROR(in.U8(&version));
  if (version > kVersion) {
    return absl::UnimplementedError(
        absl::StrCat("PQ codec of version ", version, ", this build reads up to ", kVersion));
  }
  if (version == 0) return absl::DataLossError("PQ codec of version 0");
  TESSERA_RETURN_IF_ERROR(in.U32(&p.dim));
  TESSERA_RETURN_IF_ERROR(in.U8(&metric));
  TESSERA_RETURN_IF_ERROR(in.U8(&fine_bits));
  TESSERA_RETURN_IF_ERROR(in.F32(&p.sigma));
  p.metric = static_cast<base::Metric>(metric);
  p.fine_bits = fine_bits;
  // Sizes are checked against the bytes at hand before anything is allocated.
  const size_t words = p.dim > base::kDimMax ? 0 : PqDictionaries(p.dim) * kPqWords * kPqWordDims;
  if (p.dim == 0 || p.dim > base::kDimMax || in.remaining() != (words + p.dim) * sizeof(float)) {
    return absl::DataLossError(
        absl::StrCat("PQ codec of ", p.dim, " dimensions has ", in.remaining(), " bytes of words"));
  }
  p.words.resize(words);
  p.mean.resize(p.dim);
  for (float& value : p.words) TESSERA_RETURN_IF_ERROR(in.F32(&value));
  for (float& value : p.mean) TESSERA_RETURN_IF_ERROR(in.F32(&value));
  absl::StatusOr<std::unique_ptr<PqCodec>> codec = Create(std::move(p));
  if (!codec.ok()) {
    return absl::DataLossError(absl::StrCat("PQ codec: ", codec.status().message()));
  }
  return *std::move(codec);
}

}  // namespace tessera::index
