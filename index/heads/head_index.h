// HeadIndex: the heads of all lists in memory, and which of them a query should probe.
//
// A head is kept as one unsigned byte per dimension with a scale of its own, relative to an origin
// that all heads share (their mean; zero under inner product):
//
//   head[j] = origin[j] + scale * (code[j] - 128)
//
// That decoded head is *the* head of the list: codecs encode the list against it, and the distances
// returned here refer to it exactly, so the rounding costs a list nothing.
//
// Probe order. Lists are not visited by the distance to the head alone: of two heads equally far
// away, the list with the tighter rows is the better one under L2 and cosine, the one with the
// wider rows under inner product. With S = mean |x - head|^2 of the list's rows the order is
// ascending by
//
//   L2 |q - c|^2 + 0.1 S      cosine |q - c|^2 + 0.4 S      inner product -<q, c> - 0.2 |q| sqrt(S)
//
// which, at recall .95 of the rows' lists, probes 10 % (glove, L2), 28 % (glove, cosine) and 50 %
// (glove, inner product) fewer lists than S = 0.
//
// Serialised (little-endian):
//
//   u32 magic "THD2" | u8 metric | u8 tier (0: none) | u32 dim | u32 heads | f32 unit |
//   f32 origin[dim] | f32 scales[heads] | f32 spreads[heads] | u8 codes[heads * dim] | the tier,
//   see head_tier.h | u32 CRC-32C of all before it
//
// Up to a megabyte of codes a query is compared with all of them; beyond, a tier of groups and
// one-bit codes picks the heads to compare. For 64 hits, on one core of a busy machine: glove-100,
// 1.4K heads 4.3 us, 18K heads 19 us with 98.9 % of the best heads found; sift, 143K heads 42 us.
//
// Threads: a HeadIndex is immutable and shared; a HeadCursor belongs to one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "base/types.h"
#include "index/heads/head_codes.h"
#include "index/heads/head_cursor.h"

namespace tessera::index {

class HeadTier;

struct HeadIndexOptions {
  base::Metric metric = base::Metric::kL2;
  // Mean |x - head|^2 of each list's rows, in search space; only read during Build. Empty: unknown,
  // lists are probed by distance (by dot product under inner product).
  std::span<const float> spreads = {};
  // What rows, heads and queries were multiplied with to come into search space; kept for callers.
  float unit = 1;
  uint64_t seed = 1;
  uint32_t thread_count = 0;  // 0: one per core
};

class HeadIndex {
 public:
  // Shapes: heads [n x dim], row-major, finite, in search space; n may be 0.
  // Pre:    1 <= dim <= base::kDimMax; spreads are empty or [n], finite, not negative.
  // Cost:   O(n dim); with a tier that of clustering n rows, some seconds at 10^5 x 768.
  //         Deterministic, whatever the thread count.
  static std::unique_ptr<HeadIndex> Build(std::span<const float> heads, size_t dim,
                                          const HeadIndexOptions& options);

  size_t head_count() const { return scales_.size(); }
  size_t dim() const { return dim_; }
  base::Metric metric() const { return metric_; }
  // Whether heads are picked by a tier instead of comparing them all.
  bool has_tier() const { return tier_ != nullptr; }
  size_t memory_bytes() const;

  // The power of two that search space multiplies vectors with, see index/search_space.h.
  float unit() const { return unit_; }

  // The lists to probe, best first: replaces `out` by min(nprobe, head_count()) hits; `cursor` can
  // then go on from there.
  void Nearest(const float* query, uint32_t nprobe, HeadCursor* cursor,
               std::vector<HeadHit>* out) const {
    cursor->Begin(*this, query);
    cursor->Next(nprobe, out);
  }

  // Mean |x - head|^2 of the rows the list was built with; 0 when unknown.
  float spread(uint32_t list) const { return spreads_[list]; }
  // The head as the index keeps it. Shape: out [dim]. Equal on every machine.
  void DecodeHead(uint32_t list, float* out) const;

  std::string Serialize() const;
  // Errors: kDataLoss for any damage.
  static absl::StatusOr<std::unique_ptr<HeadIndex>> Deserialize(std::string_view bytes);

  HeadIndex(const HeadIndex&) = delete;
  HeadIndex& operator=(const HeadIndex&) = delete;
  ~HeadIndex();

 private:
  friend class HeadCursor;
  friend class HeadTier;  // reads the heads of its groups

  HeadIndex();
  static absl::StatusOr<std::unique_ptr<HeadIndex>> Read(std::string_view bytes, size_t heads_max);
  void EncodeHeads(std::span<const float> heads);
  void BuildTier(const HeadIndexOptions& options);
  void Finish();

  // As serialised.
  base::Metric metric_ = base::Metric::kL2;
  size_t dim_ = 0;
  float unit_ = 1;
  std::vector<float> origin_;
  std::vector<float> scales_;
  std::vector<float> spreads_;
  std::vector<uint8_t> codes_;  // [heads x dim]

  // Derived.
  struct Factors {
    float scale;
    float norm2;       // |c - origin|^2
    float origin_dot;  // <origin, c - origin>
    float term;        // what the spread adds to the order
  };
  std::vector<Factors> factors_;
  std::vector<uint8_t> zero_codes_;  // [dim] of the origin
  PackedVectors packed_;             // without a tier
  std::unique_ptr<HeadTier> tier_;   // as serialised; null: none
};

}  // namespace tessera::index
