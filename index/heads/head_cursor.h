// HeadCursor: the heads of an index in the order in which a query probes their lists, a few at a
// time. Asking for more goes on where the last call ended: the query is prepared and compared with
// the heads once. (With a tier the groups looked at before are scanned again, less what was
// returned: what they hold beyond the heads wanted then was never compared.)
//
// A mask of eligible lists leaves out heads before any of them is compared exactly: what is wanted
// is then so many eligible heads, wherever they come in the order.
//
// Threads: one at a time. Reused from query to query it allocates nothing once its buffers, about 8
//          bytes a head, have grown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace tessera::index {

class HeadIndex;
class HeadTierScratch;

struct HeadHit {
  uint32_t list;
  float distance2;  // |q - c|^2 of the decoded head c
  float dot;        // <q, c>
};

class HeadCursor {
 public:
  HeadCursor();
  HeadCursor(const HeadCursor&) = delete;
  HeadCursor& operator=(const HeadCursor&) = delete;
  HeadCursor(HeadCursor&&) noexcept;
  HeadCursor& operator=(HeadCursor&&) noexcept;
  ~HeadCursor();

  // Goes to before the first head of `index`, which outlives the calls of Next.
  //
  // Shapes: query [dim], finite, in search space; eligible: empty (every list), or one bit per
  // list,
  //         bit l % 64 of word l / 64. Both are copied, or not read again.
  // Cost:   comparing all heads as bytes; with a tier only the preparation of the query.
  void Begin(const HeadIndex& index, const float* query, std::span<const uint64_t> eligible = {});

  // Replaces `out` by the next min(n, left()) lists to probe, best first.
  //
  // Heads are ranked with a query of one byte per dimension; a few more than wanted are ranked
  // again in f32, so that order and distances are those of the decoded heads to f32 rounding; a
  // head that belongs to the last few hits may rarely come in a later call. No list comes twice.
  void Next(size_t n, std::vector<HeadHit>* out);

  // Eligible lists that were not returned yet.
  size_t left() const { return left_; }

 private:
  void Prepare(const float* query);
  void ScoreFlat();
  void Exclude(uint32_t list);
  bool IsExcluded(uint32_t list) const { return (excluded_[list / 64] >> (list % 64) & 1) != 0; }
  void ExcludeReturned();
  void ExcludeIneligible(std::span<const uint64_t> eligible);
  void SelectSmallest(size_t wanted);
  void SelectFlat(size_t wanted);
  void ScoreExactly(size_t count);
  void RankExactly(size_t wanted, std::vector<HeadHit>* out);

  const HeadIndex* index_ = nullptr;
  size_t left_ = 0;
  std::vector<uint64_t> excluded_;  // bit per list: not eligible, or returned; empty: none is
  std::vector<uint32_t> returned_;  // of these, not yet in excluded_

  std::vector<float> query_;  // [dim] relative to the origin
  float norm_ = 0;            // of query_
  float norm2_ = 0;
  float origin_dot_ = 0;       // <q, origin>
  std::vector<int8_t> codes_;  // [dim rounded up to 4]
  std::vector<float> keys_;    // one per head; +infinity when excluded
  std::vector<float> sample_;
  std::vector<uint32_t> found_;  // heads to compare exactly
  size_t found_count_ = 0;
  std::vector<float> exact_keys_;  // of found_
  std::vector<float> products_;
  std::vector<uint32_t> ranks_;
  std::unique_ptr<HeadTierScratch> tier_;
};

}  // namespace tessera::index
