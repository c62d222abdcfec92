#include "index/heads/head_index.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/coding/coding.h"
#include "base/coding/sealed.h"
#include "base/status_macros.h"
#include "index/heads/head_tier.h"
#include "index/search_space.h"

namespace tessera::index {
namespace {

constexpr uint32_t kMagic = 0x32444854;  // "THD2"

// Weights of a list's spread in the order of probing; see the header.
constexpr float kSpreadWeightL2 = 0.1F;
constexpr float kSpreadWeightCosine = 0.4F;
constexpr float kSpreadWeightInnerProduct = 0.2F;

// Codes up to which all heads are compared: beyond, the tier is faster. About half of a core's
// second-level cache.
constexpr size_t kFlatBytesMax = size_t{1} << 20;
// Fewer heads than this make too few groups.
constexpr size_t kTierHeadsMin = 1024;

float OrderTerm(base::Metric metric, float spread) {
  switch (metric) {
    case base::Metric::kL2:
      return kSpreadWeightL2 * spread;
    case base::Metric::kCosine:
      return kSpreadWeightCosine * spread;
    case base::Metric::kInnerProduct:
      break;
  }
  return -kSpreadWeightInnerProduct * std::sqrt(spread);
}

// No number of an index is larger: sums of squares of such components stay within f32.
constexpr float kOriginMost = 1e18F;
constexpr float kScaleMost = 1e16F;
constexpr float kSpreadMost = 1e36F;

void PutFloats(std::string* out, const std::vector<float>& values) {
  for (const float value : values) base::PutF32(out, value);
}

absl::Status ReadFloats(base::Decoder* in, size_t count, const char* what, float most,
                        std::vector<float>* values) {
  std::string_view raw;
  TESSERA_RETURN_IF_ERROR(in->Raw(count * sizeof(float), &raw));
  values->resize(count);
  if (count > 0) std::memcpy(values->data(), raw.data(), raw.size());
  const auto fits = [most](float value) { return std::abs(value) <= most; };
  if (!std::all_of(values->begin(), values->end(), fits)) {
    return absl::DataLossError(
        absl::StrCat("head index has ", what, " that are not numbers up to ", most));
  }
  return absl::OkStatus();
}

}  // namespace

HeadIndex::HeadIndex() = default;
HeadIndex::~HeadIndex() = default;

std::unique_ptr<HeadIndex> HeadIndex::Build(std::span<const float> heads, size_t dim,
                                            const HeadIndexOptions& options) {
  TESSERA_CHECK(dim >= 1 && dim <= base::kDimMax && heads.size() % dim == 0);
  const size_t n = heads.size() / dim;
  TESSERA_CHECK(n < std::numeric_limits<uint32_t>::max());
  TESSERA_CHECK(options.spreads.empty() || options.spreads.size() == n);
  auto index = std::unique_ptr<HeadIndex>(new HeadIndex());
  index->metric_ = options.metric;
  index->dim_ = dim;
  index->unit_ = options.unit;
  index->spreads_.assign(options.spreads.begin(), options.spreads.end());
  index->spreads_.resize(n, 0.0F);
  TESSERA_CHECK(std::all_of(index->spreads_.begin(), index->spreads_.end(),
                            [](float spread) { return spread >= 0 && std::isfinite(spread); }));
  index->EncodeHeads(heads);
  if (n >= kTierHeadsMin && n * dim > kFlatBytesMax) index->BuildTier(options);
  index->Finish();
  return index;
}

void HeadIndex::EncodeHeads(std::span<const float> heads) {
  const size_t n = heads.size() / dim_;
  origin_.assign(dim_, 0.0F);
  if (metric_ != base::Metric::kInnerProduct && n > 0) {
    std::vector<double> sums(dim_, 0.0);
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < dim_; ++j) sums[j] += double{heads[i * dim_ + j]};
    }
    for (size_t j = 0; j < dim_; ++j) {
      origin_[j] = static_cast<float>(sums[j] / static_cast<double>(n));
    }
  }
  scales_.resize(n);
  codes_.resize(n * dim_);
  std::vector<float> centred(dim_);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < dim_; ++j) centred[j] = heads[i * dim_ + j] - origin_[j];
    scales_[i] = EncodeBytes(centred.data(), dim_, codes_.data() + i * dim_);
  }
}

void HeadIndex::BuildTier(const HeadIndexOptions& options) {
  const size_t n = head_count();
  std::vector<float> centred(codes_.size());
  std::vector<float> terms(n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < dim_; ++j) {
      centred[i * dim_ + j] = scales_[i] * static_cast<float>(codes_[i * dim_ + j] - kCodeZero);
    }
    terms[i] = OrderTerm(metric_, spreads_[i]);
  }
  absl::StatusOr<std::unique_ptr<HeadTier>> tier =
      HeadTier::Build({.heads = centred,
                       .terms = terms,
                       .dim = dim_,
                       .metric = metric_,
                       .seed = options.seed,
                       .thread_count = options.thread_count});
  // Where LAPACK gives up all heads are compared: slower, and right.
  if (tier.ok()) tier_ = *std::move(tier);
}

// Everything derived from what is serialised.
void HeadIndex::Finish() {
  const size_t n = head_count();
  zero_codes_.assign(dim_, kCodeZero);
  factors_.resize(n);
  for (size_t i = 0; i < n; ++i) {
    const uint8_t* codes = codes_.data() + i * dim_;
    double norm2 = 0;
    double origin_dot = 0;
    for (size_t j = 0; j < dim_; ++j) {
      const double value = double{scales_[i]} * (codes[j] - kCodeZero);
      norm2 += value * value;
      origin_dot += value * double{origin_[j]};
    }
    factors_[i] = {.scale = scales_[i],
                   .norm2 = static_cast<float>(norm2),
                   .origin_dot = static_cast<float>(origin_dot),
                   .term = OrderTerm(metric_, spreads_[i])};
  }
  if (tier_ != nullptr) return;
  packed_ = Pack(codes_, scales_, dim_);
  for (size_t i = 0; i < n; ++i) {
    packed_.biases[i] = metric_ == base::Metric::kInnerProduct
                            ? factors_[i].term
                            : 0.5F * (factors_[i].norm2 + factors_[i].term);
  }
}

size_t HeadIndex::memory_bytes() const {
  const size_t floats = origin_.capacity() + scales_.capacity() + spreads_.capacity();
  return sizeof(*this) + floats * sizeof(float) + factors_.capacity() * sizeof(Factors) +
         codes_.capacity() + zero_codes_.capacity() + packed_.memory_bytes() +
         (tier_ == nullptr ? 0 : tier_->memory_bytes());
}

void HeadIndex::DecodeHead(uint32_t list, float* out) const {
  TESSERA_CHECK(list < head_count());
  const uint8_t* codes = codes_.data() + size_t{list} * dim_;
  for (size_t j = 0; j < dim_; ++j) {
    out[j] = origin_[j] + scales_[list] * static_cast<float>(codes[j] - kCodeZero);
  }
}

std::string HeadIndex::Serialize() const {
  std::string out;
  base::PutU32(&out, kMagic);
  base::PutU8(&out, static_cast<uint8_t>(metric_));
  base::PutU8(&out, tier_ == nullptr ? 0 : 1);
  base::PutU32(&out, static_cast<uint32_t>(dim_));
  base::PutU32(&out, static_cast<uint32_t>(head_count()));
  base::PutF32(&out, unit_);
  PutFloats(&out, origin_);
  PutFloats(&out, scales_);
  PutFloats(&out, spreads_);
  out.append(reinterpret_cast<const char*>(codes_.data()), codes_.size());
  if (tier_ != nullptr) tier_->AppendTo(&out);
  base::Seal(&out);
  return out;
}

absl::StatusOr<std::unique_ptr<HeadIndex>> HeadIndex::Deserialize(std::string_view bytes) {
  return Read(bytes, std::numeric_limits<uint32_t>::max());
}

// A tier holds a head index of its groups, which may have a tier in turn. Each is refused before it
// is looked into unless it has at most half as many heads: the depth is bounded by their logarithm.
absl::StatusOr<std::unique_ptr<HeadIndex>> HeadIndex::Read(std::string_view bytes,
                                                           size_t heads_max) {
  TESSERA_ASSIGN_OR_RETURN(const std::string_view body, base::Unseal("head index", bytes));
  base::Decoder in(body);
  uint32_t magic = 0;
  uint8_t metric = 0;
  uint8_t tier = 0;
  uint32_t dim = 0;
  uint32_t heads = 0;
  TESSERA_RETURN_IF_ERROR(in.U32(&magic));
  TESSERA_RETURN_IF_ERROR(in.U8(&metric));
  TESSERA_RETURN_IF_ERROR(in.U8(&tier));
  TESSERA_RETURN_IF_ERROR(in.U32(&dim));
  TESSERA_RETURN_IF_ERROR(in.U32(&heads));
  float unit = 0;
  TESSERA_RETURN_IF_ERROR(in.F32(&unit));
  // Before anything is allocated: the numbers just read may be wrong.
  const uint64_t floats = uint64_t{dim} + 2 * uint64_t{heads};
  const bool fits = magic == kMagic && metric >= 1 && metric <= 3 && tier <= 1 && dim >= 1 &&
                    dim <= base::kDimMax && heads <= heads_max && IsUnit(unit) &&
                    in.remaining() >= 4 * floats + uint64_t{heads} * dim;
  if (!fits) {
    return absl::DataLossError(absl::StrCat("head index of ", heads, " x ", dim, ", metric ",
                                            metric, ", tier ", tier, " in ", bytes.size(),
                                            " bytes is not one"));
  }
  auto index = std::unique_ptr<HeadIndex>(new HeadIndex());
  index->metric_ = static_cast<base::Metric>(metric);
  index->dim_ = dim;
  index->unit_ = unit;
  TESSERA_RETURN_IF_ERROR(ReadFloats(&in, dim, "origins", kOriginMost, &index->origin_));
  TESSERA_RETURN_IF_ERROR(ReadFloats(&in, heads, "scales", kScaleMost, &index->scales_));
  TESSERA_RETURN_IF_ERROR(ReadFloats(&in, heads, "spreads", kSpreadMost, &index->spreads_));
  const auto negative = [](float value) { return value < 0; };
  if (std::any_of(index->spreads_.begin(), index->spreads_.end(), negative)) {
    return absl::DataLossError("head index has spreads below 0");
  }
  std::string_view codes;
  TESSERA_RETURN_IF_ERROR(in.Raw(size_t{heads} * dim, &codes));
  index->codes_.assign(codes.begin(), codes.end());
  if (tier == 1) {
    std::string_view rest;
    TESSERA_RETURN_IF_ERROR(in.Raw(in.remaining(), &rest));
    TESSERA_ASSIGN_OR_RETURN(index->tier_, HeadTier::Read(rest, heads, dim));
  }
  TESSERA_RETURN_IF_ERROR(in.ExpectEnd());
  index->Finish();
  return index;
}

}  // namespace tessera::index
