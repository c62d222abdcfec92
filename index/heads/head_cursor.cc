#include "index/heads/head_cursor.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "base/check.h"
#include "index/heads/head_index.h"
#include "index/heads/head_tier.h"
#include "index/kernels/vector_ops.h"

namespace tessera::index {
namespace {

// Heads whose codes are fetched ahead.
constexpr size_t kPrefetchHeads = 8;
// Stands for keys that overflowed.
constexpr float kKeyMax = std::numeric_limits<float>::max();
constexpr float kExcluded = std::numeric_limits<float>::infinity();
// Keys looked at to guess how many of them lie below a limit.
constexpr size_t kSampleKeys = 128;

void PrefetchBytes(const uint8_t* at, size_t bytes) {
  for (size_t offset = 0; offset < bytes; offset += 64) __builtin_prefetch(at + offset);
}

}  // namespace

HeadCursor::HeadCursor() = default;
HeadCursor::HeadCursor(HeadCursor&&) noexcept = default;
HeadCursor& HeadCursor::operator=(HeadCursor&&) noexcept = default;
HeadCursor::~HeadCursor() = default;

void HeadCursor::Begin(const HeadIndex& index, const float* query,
                       std::span<const uint64_t> eligible) {
  index_ = &index;
  left_ = index.head_count();
  excluded_.clear();
  returned_.clear();
  if (left_ == 0) return;
  Prepare(query);
  if (index.tier_ != nullptr) {
    if (tier_ == nullptr) tier_ = std::make_unique<HeadTierScratch>();
    index.tier_->Begin({.query = query_.data(), .norm = norm_}, tier_.get());
  } else {
    ScoreFlat();
  }
  if (!eligible.empty()) ExcludeIneligible(eligible);
}

void HeadCursor::Next(size_t n, std::vector<HeadHit>* out) {
  out->clear();
  const size_t wanted = std::min(n, left_);
  if (wanted == 0) return;
  ExcludeReturned();
  const size_t margin = std::min(left_, wanted + wanted / 16 + 8);
  if (index_->tier_ != nullptr) {
    index_->tier_->Candidates({.wanted = margin,
                               .left = left_,
                               .returned = index_->head_count() - left_,
                               .excluded = excluded_},
                              tier_.get(), &found_);
    found_count_ = found_.size();
  } else {
    SelectFlat(margin);
  }
  RankExactly(wanted, out);
  left_ -= out->size();
  for (const HeadHit& hit : *out) returned_.push_back(hit.list);
}

void HeadCursor::Prepare(const float* query) {
  const VectorOps& ops = ActiveVectorOps();
  const std::vector<float>& origin = index_->origin_;
  query_.resize(origin.size());
  for (size_t j = 0; j < origin.size(); ++j) query_[j] = query[j] - origin[j];
  norm2_ = ops.norm2_f32(query_.data(), origin.size());
  norm_ = std::sqrt(norm2_);
  origin_dot_ = ops.dot_f32(query, origin.data(), origin.size());
}

// Keys of all heads with the query rounded to bytes: half of |q - c|^2 + order term less the terms
// that all heads share, or -<q, c> + |q| * order term.
void HeadCursor::ScoreFlat() {
  HeadQuery query = QuantiseQuery(query_, &codes_);
  query.bias_scale = index_->metric_ == base::Metric::kInnerProduct ? norm_ : 1.0F;
  const PackedVectors& packed = index_->packed_;
  if (keys_.size() < packed.padded_count()) keys_.resize(packed.padded_count());
  ActiveHeadKernels().score_blocks(packed.blocks(), query, keys_.data());
}

void HeadCursor::Exclude(uint32_t list) {
  excluded_[list / 64] |= uint64_t{1} << (list % 64);
  if (index_->tier_ == nullptr) keys_[list] = kExcluded;
}

void HeadCursor::ExcludeReturned() {
  if (returned_.empty()) return;
  excluded_.resize((index_->head_count() + 63) / 64);
  for (const uint32_t list : returned_) Exclude(list);
  returned_.clear();
}

void HeadCursor::ExcludeIneligible(std::span<const uint64_t> eligible) {
  const size_t n = index_->head_count();
  TESSERA_CHECK(eligible.size() == (n + 63) / 64);
  excluded_.resize(eligible.size());
  for (size_t word = 0; word < eligible.size(); ++word) {
    uint64_t rest = ~eligible[word];
    if (word == n / 64) rest &= (uint64_t{1} << (n % 64)) - 1;
    left_ -= static_cast<size_t>(std::popcount(rest));
    for (; rest != 0; rest &= rest - 1) {
      Exclude(static_cast<uint32_t>(64 * word + static_cast<size_t>(std::countr_zero(rest))));
    }
  }
}

// Leaves the positions of at least `wanted` keys, the smallest among them, in found_.
void HeadCursor::SelectSmallest(size_t wanted) {
  const HeadKernels& kernels = ActiveHeadKernels();
  const size_t n = index_->head_count();
  if (found_.size() < n + 16) found_.resize(n + 16);
  const size_t stride = n / kSampleKeys + 1;
  sample_.clear();
  for (size_t i = stride / 2; i < n; i += stride) {
    if (keys_[i] < kKeyMax) sample_.push_back(keys_[i]);
  }
  // The share of the sample below the limit varies by its square root.
  const double expected = static_cast<double>(wanted) / static_cast<double>(stride);
  for (size_t rank = static_cast<size_t>(expected + std::sqrt(expected)) + 1; rank < sample_.size();
       rank *= 2) {
    const float limit = LimitOfRank(sample_, rank);
    found_count_ = kernels.select_up_to(keys_.data(), n, limit, found_.data());
    if (found_count_ >= wanted) return;
  }
  found_count_ = n;
  for (size_t i = 0; i < n; ++i) found_[i] = static_cast<uint32_t>(i);
}

// Leaves at least `wanted` heads, the nearest by key, in found_.
void HeadCursor::SelectFlat(size_t wanted) {
  SelectSmallest(wanted);
  const bool everything = found_count_ == index_->head_count();
  if (everything && !excluded_.empty()) {
    const auto end = found_.begin() + static_cast<ptrdiff_t>(found_count_);
    const auto kept =
        std::remove_if(found_.begin(), end, [this](uint32_t list) { return IsExcluded(list); });
    found_count_ = static_cast<size_t>(kept - found_.begin());
  }
  if (found_count_ <= wanted + wanted / 2) return;
  if (everything) {
    // Keys that overflowed have a place in the order, too.
    for (float& key : keys_) key = key < kKeyMax ? key : kKeyMax;
  }
  const auto nearer = [this](uint32_t a, uint32_t b) { return keys_[a] < keys_[b]; };
  std::nth_element(found_.begin(), found_.begin() + static_cast<ptrdiff_t>(wanted - 1),
                   found_.begin() + static_cast<ptrdiff_t>(found_count_), nearer);
  found_count_ = wanted;
}

// Exact keys and products of the first `count` heads in found_.
void HeadCursor::ScoreExactly(size_t count) {
  const VectorOps& ops = ActiveVectorOps();
  const HeadIndex& index = *index_;
  const size_t dim = index.dim_;
  const float* q = query_.data();
  // Summed in the order of the products below, so that rounding errors cancel.
  const float code_offset = ops.dot_u8(q, index.zero_codes_.data(), dim);
  exact_keys_.resize(count);
  products_.resize(count);
  for (size_t i = 0; i < count; ++i) {
    const uint32_t list = found_[i];
    if (i + kPrefetchHeads < count) {
      const uint32_t ahead = found_[i + kPrefetchHeads];
      __builtin_prefetch(&index.factors_[ahead]);
      PrefetchBytes(index.codes_.data() + ahead * dim, dim);
    }
    const HeadIndex::Factors& head = index.factors_[list];
    const float product =
        head.scale * (ops.dot_u8(q, index.codes_.data() + list * dim, dim) - code_offset);
    const float key = index.metric_ == base::Metric::kInnerProduct
                          ? norm_ * head.term - product
                          : 0.5F * (head.norm2 + head.term) - product;
    products_[i] = product;
    exact_keys_[i] = key < kKeyMax ? key : kKeyMax;
  }
}

// The best `wanted` of the heads in found_ by their exact keys.
void HeadCursor::RankExactly(size_t wanted, std::vector<HeadHit>* out) {
  size_t count = found_count_;
  wanted = std::min(wanted, count);
  out->clear();
  if (wanted == 0) return;
  ScoreExactly(count);
  if (count > wanted + wanted / 2) {
    const float limit = LimitOfRank(exact_keys_, wanted);
    size_t kept = 0;
    for (size_t i = 0; i < count; ++i) {
      found_[kept] = found_[i];
      products_[kept] = products_[i];
      exact_keys_[kept] = exact_keys_[i];
      kept += exact_keys_[i] <= limit ? 1 : 0;
    }
    count = kept;
  }
  ranks_.resize(count);
  ActiveHeadKernels().rank(exact_keys_.data(), count, ranks_.data());
  out->resize(wanted);
  for (size_t i = 0; i < count; ++i) {
    if (ranks_[i] >= wanted) continue;
    const uint32_t list = found_[i];
    const float product = products_[i];
    const HeadIndex::Factors& head = index_->factors_[list];
    (*out)[ranks_[i]] = {.list = list,
                         .distance2 = std::max(norm2_ + head.norm2 - 2 * product, 0.0F),
                         .dot = origin_dot_ + head.origin_dot + product};
  }
}

}  // namespace tessera::index
