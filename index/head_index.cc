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
#include "index/kernels/vector_ops.h"

namespace tessera::index {
namespace {

constexpr uint32_t kMagic = 0x31444854;  // "THD1"
constexpr uint8_t kCodeZero = 128;
constexpr float kCodeMax = 127;

// Weights of a list's spread in the order of probing; see the header.
constexpr float kSpreadWeightL2 = 0.1F;
constexpr float kSpreadWeightCosine = 0.4F;
constexpr float kSpreadWeightInnerProduct = 0.2F;

// Keys looked at to guess how many of them lie below a limit.
constexpr size_t kSampleKeys = 256;

// Order-preserving: smaller floats get smaller numbers, ties go to the smaller list.
uint64_t Ranked(float key, uint32_t list) {
  const uint32_t bits = std::bit_cast<uint32_t>(key);
  const uint32_t ordered = (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
  return uint64_t{ordered} << 32 | list;
}

uint32_t ListOf(uint64_t ranked) {
  return static_cast<uint32_t>(ranked);
}

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

// Fills `found` with the positions of at least `wanted` keys, the smallest among them.
void SelectSmallest(const std::vector<float>& keys, size_t n, size_t wanted,
                    std::vector<float>* sample, std::vector<uint32_t>* found) {
  const HeadKernels& kernels = ActiveHeadKernels();
  found->resize(n + 16);
  const size_t samples = std::min(n, kSampleKeys);
  sample->resize(samples);
  for (size_t i = 0; i < samples; ++i) (*sample)[i] = keys[i * n / samples];
  // The share of the sample below the limit varies by its square root.
  const double share = static_cast<double>(wanted) / static_cast<double>(n);
  const double expected = share * static_cast<double>(samples);
  for (size_t rank = static_cast<size_t>(expected + std::sqrt(expected)) + 1; rank < samples;
       rank *= 2) {
    const auto at = sample->begin() + static_cast<ptrdiff_t>(rank);
    std::nth_element(sample->begin(), at, sample->end());
    const size_t count = kernels.select_up_to(keys.data(), n, *at, found->data());
    if (count >= wanted) {
      found->resize(count);
      return;
    }
  }
  found->resize(n);
  for (size_t i = 0; i < n; ++i) (*found)[i] = static_cast<uint32_t>(i);
}

}  // namespace

std::unique_ptr<HeadIndex> HeadIndex::Build(std::span<const float> heads, size_t dim,
                                            const HeadIndexOptions& options) {
  TESSERA_CHECK(dim >= 1 && dim <= base::kDimMax && heads.size() % dim == 0);
  const size_t n = heads.size() / dim;
  TESSERA_CHECK(n < std::numeric_limits<uint32_t>::max());
  TESSERA_CHECK(options.spreads.empty() || options.spreads.size() == n);
  auto index = std::unique_ptr<HeadIndex>(new HeadIndex());
  index->metric_ = options.metric;
  index->dim_ = dim;
  index->origin_.assign(dim, 0.0F);
  if (options.metric != base::Metric::kInnerProduct && n > 0) {
    std::vector<double> sums(dim, 0.0);
    for (size_t i = 0; i < heads.size(); ++i) sums[i % dim] += double{heads[i]};
    for (size_t j = 0; j < dim; ++j) {
      index->origin_[j] = static_cast<float>(sums[j] / static_cast<double>(n));
    }
  }
  index->scales_.resize(n);
  index->codes_.resize(n * dim);
  for (size_t i = 0; i < n; ++i) index->EncodeHead(heads.data() + i * dim, i);
  index->spreads_.assign(options.spreads.begin(), options.spreads.end());
  index->spreads_.resize(n, 0.0F);
  TESSERA_CHECK(std::all_of(index->spreads_.begin(), index->spreads_.end(),
                            [](float spread) { return spread >= 0 && std::isfinite(spread); }));
  index->Finish();
  return index;
}

void HeadIndex::EncodeHead(const float* head, size_t number) {
  float largest = 0;
  for (size_t j = 0; j < dim_; ++j) largest = std::max(largest, std::abs(head[j] - origin_[j]));
  const float scale = largest / kCodeMax;
  uint8_t* codes = codes_.data() + number * dim_;
  scales_[number] = scale;
  if (!(scale > 0)) {
    std::fill_n(codes, dim_, kCodeZero);
    return;
  }
  for (size_t j = 0; j < dim_; ++j) {
    const float code = std::clamp(std::round((head[j] - origin_[j]) / scale), -kCodeMax, kCodeMax);
    codes[j] = static_cast<uint8_t>(static_cast<int>(code) + kCodeZero);
  }
}

// Everything derived from what is serialised.
void HeadIndex::Finish() {
  const size_t n = head_count();
  quads_ = (dim_ + 3) / 4;
  zero_codes_.assign(dim_, kCodeZero);
  const size_t blocks = (n + kHeadBlock - 1) / kHeadBlock;
  norms2_.resize(n);
  origin_dots_.resize(n);
  order_terms_.resize(n);
  // Padding scores a finite number that nobody looks at.
  block_codes_.assign(blocks * quads_ * kHeadBlock * 4, kCodeZero);
  block_scales_.assign(blocks * kHeadBlock, 0.0F);
  block_biases_.assign(blocks * kHeadBlock, 0.0F);
  for (size_t i = 0; i < n; ++i) {
    const uint8_t* codes = codes_.data() + i * dim_;
    uint8_t* block = block_codes_.data() + i / kHeadBlock * quads_ * kHeadBlock * 4;
    double norm2 = 0;
    double origin_dot = 0;
    for (size_t j = 0; j < dim_; ++j) {
      const double value = double{scales_[i]} * (codes[j] - kCodeZero);
      norm2 += value * value;
      origin_dot += value * double{origin_[j]};
      block[(j / 4 * kHeadBlock + i % kHeadBlock) * 4 + j % 4] = codes[j];
    }
    norms2_[i] = static_cast<float>(norm2);
    origin_dots_[i] = static_cast<float>(origin_dot);
    order_terms_[i] = OrderTerm(metric_, spreads_[i]);
    block_scales_[i] = scales_[i];
    block_biases_[i] = metric_ == base::Metric::kInnerProduct
                           ? order_terms_[i]
                           : 0.5F * (norms2_[i] + order_terms_[i]);
  }
}

size_t HeadIndex::memory_bytes() const {
  const size_t floats = origin_.capacity() + scales_.capacity() + spreads_.capacity() +
                        norms2_.capacity() + origin_dots_.capacity() + order_terms_.capacity() +
                        block_scales_.capacity() + block_biases_.capacity();
  return sizeof(*this) + floats * sizeof(float) + codes_.capacity() + block_codes_.capacity();
}

void HeadIndex::DecodeHead(uint32_t list, float* out) const {
  TESSERA_CHECK(list < head_count());
  const uint8_t* codes = codes_.data() + size_t{list} * dim_;
  for (size_t j = 0; j < dim_; ++j) {
    out[j] = origin_[j] + scales_[list] * static_cast<float>(codes[j] - kCodeZero);
  }
}

// Keys of all heads with the query rounded to bytes: half of |q - c|^2 + order term less the terms
// that all heads share, or -<q, c> + |q| * order term.
void HeadIndex::ScoreFlat(float query_norm, HeadScratch* scratch) const {
  float largest = 0;
  for (const float value : scratch->query_) largest = std::max(largest, std::abs(value));
  const float scale = largest / kCodeMax;
  scratch->codes_.assign(quads_ * 4, 0);
  int32_t sum = 0;
  if (scale > 0) {
    const float inverse = 1 / scale;
    for (size_t j = 0; j < dim_; ++j) {
      const float code = std::clamp(scratch->query_[j] * inverse, -kCodeMax, kCodeMax);
      scratch->codes_[j] = static_cast<int8_t>(code + (code < 0 ? -0.5F : 0.5F));
      sum += scratch->codes_[j];
    }
  }
  const size_t padded = block_scales_.size();
  if (scratch->keys_.size() < padded) scratch->keys_.resize(padded);
  const HeadBlocks blocks{.codes = block_codes_.data(),
                          .scales = block_scales_.data(),
                          .biases = block_biases_.data(),
                          .blocks = padded / kHeadBlock,
                          .quads = quads_};
  const HeadQuery query{.codes = scratch->codes_.data(),
                        .scale = scale,
                        .bias_scale = metric_ == base::Metric::kInnerProduct ? query_norm : 1.0F,
                        .offset = kCodeZero * sum};
  ActiveHeadKernels().score_blocks(blocks, query, scratch->keys_.data());
}

void HeadIndex::Nearest(const float* query, uint32_t nprobe, HeadScratch* scratch,
                        std::vector<HeadHit>* out) const {
  const size_t n = head_count();
  const size_t wanted = std::min<size_t>(nprobe, n);
  out->clear();
  if (wanted == 0) return;
  const VectorOps& ops = ActiveVectorOps();
  std::vector<float>& q = scratch->query_;
  q.resize(dim_);
  for (size_t j = 0; j < dim_; ++j) q[j] = query[j] - origin_[j];
  // Summed in the order of the products below, so that rounding errors cancel.
  const float code_offset = ops.dot_u8(q.data(), zero_codes_.data(), dim_);
  const float norm2 = ops.norm2_f32(q.data(), dim_);
  const float norm = std::sqrt(norm2);
  const float origin_dot = ops.dot_f32(query, origin_.data(), dim_);

  ScoreFlat(norm, scratch);
  const size_t candidates = std::min(n, wanted + wanted / 4 + 8);
  SelectSmallest(scratch->keys_, n, candidates, &scratch->sample_, &scratch->found_);
  std::vector<uint64_t>& ranked = scratch->ranked_;
  ranked.resize(scratch->found_.size());
  for (size_t i = 0; i < ranked.size(); ++i) {
    ranked[i] = Ranked(scratch->keys_[scratch->found_[i]], scratch->found_[i]);
  }
  if (ranked.size() > candidates) {
    std::nth_element(ranked.begin(), ranked.begin() + static_cast<ptrdiff_t>(candidates),
                     ranked.end());
    ranked.resize(candidates);
  }
  // Exactly against the decoded heads; keys_ is free for what is computed on the way.
  for (uint64_t& entry : ranked) {
    const uint32_t list = ListOf(entry);
    const float product =
        scales_[list] * (ops.dot_u8(q.data(), codes_.data() + list * dim_, dim_) - code_offset);
    scratch->keys_[list] = product;
    const float key = metric_ == base::Metric::kInnerProduct
                          ? norm * order_terms_[list] - product
                          : 0.5F * (norms2_[list] + order_terms_[list]) - product;
    entry = Ranked(key, list);
  }
  std::sort(ranked.begin(), ranked.end());
  for (size_t i = 0; i < wanted; ++i) {
    const uint32_t list = ListOf(ranked[i]);
    const float product = scratch->keys_[list];
    out->push_back({.list = list,
                    .distance2 = std::max(norm2 + norms2_[list] - 2 * product, 0.0F),
                    .dot = origin_dot + origin_dots_[list] + product});
  }
}

std::string HeadIndex::Serialize() const {
  std::string out;
  base::PutU32(&out, kMagic);
  base::PutU8(&out, static_cast<uint8_t>(metric_));
  base::PutU32(&out, static_cast<uint32_t>(dim_));
  base::PutU32(&out, static_cast<uint32_t>(head_count()));
  PutFloats(&out, origin_);
  PutFloats(&out, scales_);
  PutFloats(&out, spreads_);
  out.append(reinterpret_cast<const char*>(codes_.data()), codes_.size());
  base::PutU32(&out, base::Crc32c(out));
  return out;
}

absl::StatusOr<std::unique_ptr<HeadIndex>> HeadIndex::Deserialize(std::string_view bytes) {
  base::Decoder in(bytes);
  uint32_t magic = 0;
  uint8_t metric = 0;
  uint32_t dim = 0;
  uint32_t heads = 0;
  TESSERA_RETURN_IF_ERROR(in.U32(&magic));
  TESSERA_RETURN_IF_ERROR(in.U8(&metric));
  TESSERA_RETURN_IF_ERROR(in.U32(&dim));
  TESSERA_RETURN_IF_ERROR(in.U32(&heads));
  if (magic != kMagic || metric < 1 || metric > 3 || dim < 1 || dim > base::kDimMax) {
    return absl::DataLossError(absl::StrCat("head index of ", bytes.size(), " bytes is not one"));
  }
  // Before anything is allocated: the numbers just read may be wrong.
  const uint64_t floats = uint64_t{dim} + 2 * uint64_t{heads};
  const uint64_t wanted = 4 * floats + uint64_t{heads} * dim + sizeof(uint32_t);
  if (in.remaining() != wanted) {
    return absl::DataLossError(absl::StrCat("head index of ", heads, " x ", dim, " has ",
                                            in.remaining(), " bytes, must be ", wanted));
  }
  const size_t body = bytes.size() - sizeof(uint32_t);
  const uint32_t actual = base::Crc32c(bytes.substr(0, body));
  const uint32_t stored = base::LoadU32(reinterpret_cast<const std::byte*>(bytes.data()) + body);
  if (actual != stored) {
    return absl::DataLossError(
        absl::StrCat("head index has checksum ", actual, ", stored is ", stored));
  }
  auto index = std::unique_ptr<HeadIndex>(new HeadIndex());
  index->metric_ = static_cast<base::Metric>(metric);
  index->dim_ = dim;
  TESSERA_RETURN_IF_ERROR(ReadFloats(&in, dim, "origins", &index->origin_));
  TESSERA_RETURN_IF_ERROR(ReadFloats(&in, heads, "scales", &index->scales_));
  TESSERA_RETURN_IF_ERROR(ReadFloats(&in, heads, "spreads", &index->spreads_));
  std::string_view codes;
  TESSERA_RETURN_IF_ERROR(in.Raw(size_t{heads} * dim, &codes));
  index->codes_.assign(codes.begin(), codes.end());
  const auto negative = [](float value) { return value < 0; };
  if (std::any_of(index->spreads_.begin(), index->spreads_.end(), negative)) {
    return absl::DataLossError("head index has spreads below 0");
  }
  index->Finish();
  return index;
}

}  // namespace tessera::index
