#include "index/head_index.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/coding.h"
#include "base/crc32c.h"
#include "base/status_macros.h"
#include "index/head_tier.h"
#include "index/kernels/vector_ops.h"

namespace tessera::index {
namespace {

constexpr uint32_t kMagic = 0x31444854;  // "THD1"
// Heads whose codes are fetched ahead.
constexpr size_t kPrefetchHeads = 8;
// Stands for keys that overflowed.
constexpr float kKeyMax = std::numeric_limits<float>::max();

// Weights of a list's spread in the order of probing; see the header.
constexpr float kSpreadWeightL2 = 0.1F;
constexpr float kSpreadWeightCosine = 0.4F;
constexpr float kSpreadWeightInnerProduct = 0.2F;

// Codes up to which all heads are compared: beyond, the tier is faster. About half of a core's
// second-level cache.
constexpr size_t kFlatBytesMax = size_t{1} << 20;
// Fewer heads than this make too few groups.
constexpr size_t kTierHeadsMin = 1024;

// Keys looked at to guess how many of them lie below a limit.
constexpr size_t kSampleKeys = 128;

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

void PrefetchBytes(const uint8_t* at, size_t bytes) {
  for (size_t offset = 0; offset < bytes; offset += 64) __builtin_prefetch(at + offset);
}

bool AllFinite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

void PutFloats(std::string* out, const std::vector<float>& values) {
  for (const float value : values) base::PutF32(out, value);
}

absl::Status ReadFloats(base::Decoder* in, size_t count, const char* what,
                        std::vector<float>* values) {
  std::string_view raw;
  TESSERA_RETURN_IF_ERROR(in->Raw(count * sizeof(float), &raw));
  values->resize(count);
  if (count > 0) std::memcpy(values->data(), raw.data(), raw.size());
  if (!AllFinite(*values)) {
    return absl::DataLossError(absl::StrCat("head index has ", what, " that are not finite"));
  }
  return absl::OkStatus();
}

// Writes the positions of at least `wanted` keys, the smallest among them, to the beginning of
// `found` and returns how many.
size_t SelectSmallest(const std::vector<float>& keys, size_t n, size_t wanted,
                      std::vector<float>* sample, std::vector<uint32_t>* found) {
  const HeadKernels& kernels = ActiveHeadKernels();
  if (found->size() < n + 16) found->resize(n + 16);
  const size_t stride = n / kSampleKeys + 1;
  sample->clear();
  for (size_t i = stride / 2; i < n; i += stride) sample->push_back(keys[i]);
  // The share of the sample below the limit varies by its square root.
  const double expected = static_cast<double>(wanted) / static_cast<double>(stride);
  for (size_t rank = static_cast<size_t>(expected + std::sqrt(expected)) + 1; rank < sample->size();
       rank *= 2) {
    const float limit = LimitOfRank(*sample, rank);
    const size_t count = kernels.select_up_to(keys.data(), n, limit, found->data());
    if (count >= wanted) return count;
  }
  for (size_t i = 0; i < n; ++i) (*found)[i] = static_cast<uint32_t>(i);
  return n;
}

}  // namespace

HeadScratch::HeadScratch() = default;
HeadScratch::HeadScratch(HeadScratch&&) noexcept = default;
HeadScratch& HeadScratch::operator=(HeadScratch&&) noexcept = default;
HeadScratch::~HeadScratch() = default;

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

void HeadIndex::PrepareQuery(const float* query, HeadScratch* scratch) const {
  const VectorOps& ops = ActiveVectorOps();
  std::vector<float>& q = scratch->query_;
  q.resize(dim_);
  for (size_t j = 0; j < dim_; ++j) q[j] = query[j] - origin_[j];
  scratch->norm2_ = ops.norm2_f32(q.data(), dim_);
  scratch->norm_ = std::sqrt(scratch->norm2_);
  scratch->origin_dot_ = ops.dot_f32(query, origin_.data(), dim_);
}

// Keys of all heads with the query rounded to bytes: half of |q - c|^2 + order term less the terms
// that all heads share, or -<q, c> + |q| * order term.
void HeadIndex::ScoreFlat(HeadScratch* scratch) const {
  HeadQuery query = QuantiseQuery(scratch->query_, &scratch->codes_);
  query.bias_scale = metric_ == base::Metric::kInnerProduct ? scratch->norm_ : 1.0F;
  if (scratch->keys_.size() < packed_.padded_count()) {
    scratch->keys_.resize(packed_.padded_count());
  }
  ActiveHeadKernels().score_blocks(packed_.blocks(), query, scratch->keys_.data());
}

// Leaves at least `wanted` heads, the nearest by key, in found_; returns how many.
size_t HeadIndex::SelectFlat(size_t wanted, HeadScratch* scratch) const {
  const std::vector<float>& keys = scratch->keys_;
  std::vector<uint32_t>& found = scratch->found_;
  const size_t count = SelectSmallest(keys, head_count(), wanted, &scratch->sample_, &found);
  if (count <= wanted + wanted / 2) return count;
  const auto nearer = [&keys](uint32_t a, uint32_t b) { return keys[a] < keys[b]; };
  std::nth_element(found.begin(), found.begin() + static_cast<ptrdiff_t>(wanted - 1),
                   found.begin() + static_cast<ptrdiff_t>(count), nearer);
  return wanted;
}

// Exact keys and products of the heads in found_[0, count).
void HeadIndex::ScoreExactly(size_t count, HeadScratch* scratch) const {
  const VectorOps& ops = ActiveVectorOps();
  const float* q = scratch->query_.data();
  // Summed in the order of the products below, so that rounding errors cancel.
  const float code_offset = ops.dot_u8(q, zero_codes_.data(), dim_);
  scratch->exact_keys_.resize(count);
  scratch->products_.resize(count);
  for (size_t i = 0; i < count; ++i) {
    const uint32_t list = scratch->found_[i];
    if (i + kPrefetchHeads < count) {
      const uint32_t ahead = scratch->found_[i + kPrefetchHeads];
      __builtin_prefetch(&factors_[ahead]);
      PrefetchBytes(codes_.data() + ahead * dim_, dim_);
    }
    const Factors& head = factors_[list];
    const float product =
        head.scale * (ops.dot_u8(q, codes_.data() + list * dim_, dim_) - code_offset);
    const float key = metric_ == base::Metric::kInnerProduct
                          ? scratch->norm_ * head.term - product
                          : 0.5F * (head.norm2 + head.term) - product;
    scratch->products_[i] = product;
    scratch->exact_keys_[i] = key < kKeyMax ? key : kKeyMax;
  }
}

// The best `wanted` of the heads in found_[0, count) by their exact keys.
void HeadIndex::RankExactly(size_t count, size_t wanted, HeadScratch* scratch,
                            std::vector<HeadHit>* out) const {
  ScoreExactly(count, scratch);
  std::vector<float>& keys = scratch->exact_keys_;
  if (count > wanted + wanted / 2) {
    const float limit = LimitOfRank(keys, wanted);
    size_t kept = 0;
    for (size_t i = 0; i < count; ++i) {
      scratch->found_[kept] = scratch->found_[i];
      scratch->products_[kept] = scratch->products_[i];
      keys[kept] = keys[i];
      kept += keys[i] <= limit ? 1 : 0;
    }
    count = kept;
  }
  scratch->ranks_.resize(count);
  ActiveHeadKernels().rank(keys.data(), count, scratch->ranks_.data());
  out->resize(wanted);
  for (size_t i = 0; i < count; ++i) {
    if (scratch->ranks_[i] >= wanted) continue;
    const uint32_t list = scratch->found_[i];
    const float product = scratch->products_[i];
    (*out)[scratch->ranks_[i]] = {
        .list = list,
        .distance2 = std::max(scratch->norm2_ + factors_[list].norm2 - 2 * product, 0.0F),
        .dot = scratch->origin_dot_ + factors_[list].origin_dot + product};
  }
}

void HeadIndex::Nearest(const float* query, uint32_t nprobe, HeadScratch* scratch,
                        std::vector<HeadHit>* out) const {
  const size_t n = head_count();
  const size_t wanted = std::min<size_t>(nprobe, n);
  out->clear();
  if (wanted == 0) return;
  PrepareQuery(query, scratch);
  const size_t margin = std::min(n, wanted + wanted / 16 + 8);
  size_t count = 0;
  if (tier_ != nullptr) {
    if (scratch->tier_ == nullptr) scratch->tier_ = std::make_unique<HeadTierScratch>();
    tier_->Candidates({.query = scratch->query_.data(), .norm = scratch->norm_, .wanted = margin},
                      scratch->tier_.get(), &scratch->found_);
    count = scratch->found_.size();
  } else {
    ScoreFlat(scratch);
    count = SelectFlat(margin, scratch);
  }
  RankExactly(count, wanted, scratch, out);
}

std::string HeadIndex::Serialize() const {
  std::string out;
  base::PutU32(&out, kMagic);
  base::PutU8(&out, static_cast<uint8_t>(metric_));
  base::PutU8(&out, tier_ == nullptr ? 0 : 1);
  base::PutU32(&out, static_cast<uint32_t>(dim_));
  base::PutU32(&out, static_cast<uint32_t>(head_count()));
  PutFloats(&out, origin_);
  PutFloats(&out, scales_);
  PutFloats(&out, spreads_);
  out.append(reinterpret_cast<const char*>(codes_.data()), codes_.size());
  if (tier_ != nullptr) tier_->AppendTo(&out);
  base::PutU32(&out, base::Crc32c(out));
  return out;
}

absl::StatusOr<std::unique_ptr<HeadIndex>> HeadIndex::Deserialize(std::string_view bytes) {
  constexpr size_t kCrcBytes = sizeof(uint32_t);
  if (bytes.size() < kCrcBytes) {
    return absl::DataLossError(absl::StrCat("head index of ", bytes.size(), " bytes is not one"));
  }
  const std::string_view body = bytes.substr(0, bytes.size() - kCrcBytes);
  const uint32_t actual = base::Crc32c(body);
  const uint32_t stored =
      base::LoadU32(reinterpret_cast<const std::byte*>(bytes.data()) + body.size());
  if (actual != stored) {
    return absl::DataLossError(
        absl::StrCat("head index has checksum ", actual, ", stored is ", stored));
  }
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
  // Before anything is allocated: the numbers just read may be wrong.
  const uint64_t floats = uint64_t{dim} + 2 * uint64_t{heads};
  const bool fits = magic == kMagic && metric >= 1 && metric <= 3 && tier <= 1 && dim >= 1 &&
                    dim <= base::kDimMax && in.remaining() >= 4 * floats + uint64_t{heads} * dim;
  if (!fits) {
    return absl::DataLossError(absl::StrCat("head index of ", heads, " x ", dim, ", metric ",
                                            metric, ", tier ", tier, " in ", bytes.size(),
                                            " bytes is not one"));
  }
  auto index = std::unique_ptr<HeadIndex>(new HeadIndex());
  index->metric_ = static_cast<base::Metric>(metric);
  index->dim_ = dim;
  TESSERA_RETURN_IF_ERROR(ReadFloats(&in, dim, "origins", &index->origin_));
  TESSERA_RETURN_IF_ERROR(ReadFloats(&in, heads, "scales", &index->scales_));
  TESSERA_RETURN_IF_ERROR(ReadFloats(&in, heads, "spreads", &index->spreads_));
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
