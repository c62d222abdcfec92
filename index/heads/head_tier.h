// HeadTier: which of very many heads are worth an exact comparison with a query.
//
// Heads are projected on their principal directions when that loses little, grouped like rows of
// lists, and coded with one bit per direction against the centre of their group: a small index over
// the heads, searched like the large one. The groups' centres are a HeadIndex of their own.
//
// An order of probing that adds a term per head to |q - c|^2 (or subtracts |q| times a term from
// -<q, c>) is a distance (a product) with one more coordinate; so is what the projection drops:
//
//   L2, cosine      z(c) = (P c, sqrt(|c|^2 - |P c|^2 + term))    z(q) = (P q, 0)
//   inner product   z(c) = (P c, -term)                           z(q) = (P q, |q|)
//
// How many groups a search scans is measured when the tier is built, for several numbers of wanted
// heads, with points between heads as queries.
//
// Serialised (little-endian), inside the head index:
//
//   u32 projected (0: not) | f32 scales[projected] | u8 codes[projected * dim]    the projection
//   u32 group counts for 1, 16, 64, 256 and 1024 wanted heads
//   bytes group centres (a head index) | bytes codec
//   u32 begin[groups + 1] | u32 members[heads]: group g holds members[begin[g] .. begin[g + 1])
//   code planes of the groups, one after the other
//
// Threads: a HeadTier is immutable and shared; a HeadTierScratch belongs to one thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/coding/coding.h"
#include "base/types.h"
#include "index/codecs/codec.h"
#include "index/heads/head_codes.h"
#include "index/heads/head_index.h"

namespace tessera::index {

// Heads as the tier takes them: [n x dim] relative to the origin, and the terms of their order.
struct HeadTierInput {
  std::span<const float> heads;
  std::span<const float> terms;  // [n]; not negative, under inner product not positive
  size_t dim = 0;
  base::Metric metric = base::Metric::kL2;
  uint64_t seed = 1;
  uint32_t thread_count = 0;
};

struct HeadTierQuery {
  const float* query = nullptr;  // [dim] relative to the origin
  float norm = 0;
};

// What is wanted next.
struct HeadTierWish {
  size_t wanted = 0;                   // heads; 1 .. left
  size_t left = 0;                     // heads that are not excluded
  size_t returned = 0;                 // excluded ones
  std::span<const uint64_t> excluded;  // a bit per head; empty: none is
};

class HeadTierScratch {
 public:
  HeadTierScratch() = default;

 private:
  friend class HeadTier;
  uint64_t tier_ = 0;  // the tier that code_ belongs to
  std::unique_ptr<QueryCode> code_;
  std::vector<int8_t> bytes_;
  std::vector<float> projected_;
  std::vector<float> point_;     // z(q)
  HeadCursor cursor_;            // over the groups
  std::vector<HeadHit> groups_;  // that it came to so far
  std::vector<HeadHit> more_;
  std::vector<uint64_t> mask_;       // of one group
  std::vector<Survivor> survivors_;  // slots are positions in members_
  std::vector<float> estimates_;
};

class HeadTier {
 public:
  // Pre:    at least one head; everything finite.
  // Errors: kInternal when LAPACK fails.
  // Cost:   clustering of n rows; a few seconds at 10^5 x 768. Deterministic.
  static absl::StatusOr<std::unique_ptr<HeadTier>> Build(const HeadTierInput& input);

  // Begins with a query, which is not read again.
  void Begin(const HeadTierQuery& query, HeadTierScratch* scratch) const;
  // Replaces `found` by those heads, none excluded, that may be among the `wanted` best of them: at
  // least so many, in no order.
  void Candidates(const HeadTierWish& wish, HeadTierScratch* scratch,
                  std::vector<uint32_t>* found) const;

  size_t group_count() const { return begin_.size() - 1; }
  size_t memory_bytes() const;

  void AppendTo(std::string* out) const;
  // Errors: kDataLoss when the bytes are not a tier of `heads` heads of `dim` dimensions.
  static absl::StatusOr<std::unique_ptr<HeadTier>> Read(std::string_view bytes, size_t heads,
                                                        size_t dim);

 private:
  static constexpr std::array<size_t, 5> kWantedLevels = {1, 16, 64, 256, 1024};

  HeadTier();
  absl::Status BuildProjection(const HeadTierInput& input);
  std::vector<float> Points(const HeadTierInput& input) const;
  absl::Status BuildGroups(const std::vector<float>& points, const HeadTierInput& input);
  std::vector<float> MeasureQueries(const std::vector<float>& points, uint64_t seed) const;
  std::vector<uint32_t> GroupRanks(const float* query, std::span<const float> keys,
                                   const std::vector<uint32_t>& group_of) const;
  void MeasureGroupCounts(const std::vector<float>& points, const HeadTierInput& input);
  void MakePoint(const HeadTierQuery& query, HeadTierScratch* scratch) const;
  size_t GroupsFor(size_t wanted) const;
  bool MaskGroup(uint32_t group, std::span<const uint64_t> excluded,
                 std::vector<uint64_t>* mask) const;
  size_t ScanGroups(const HeadTierWish& wish, size_t first, size_t count,
                    HeadTierScratch* scratch) const;
  void LayOutPlanes();
  absl::Status ReadProjection(base::Decoder* in);
  absl::Status CheckMembers() const;
  size_t point_dim() const { return (projected_ > 0 ? projected_ : dim_) + 1; }

  const uint64_t id_;
  size_t dim_ = 0;
  bool by_dot_ = false;

  // As serialised.
  size_t projected_ = 0;  // 0: points keep all dimensions
  std::vector<float> projection_scales_;
  std::vector<uint8_t> projection_codes_;  // [projected x dim]
  std::array<uint32_t, kWantedLevels.size()> group_counts_ = {};
  std::unique_ptr<HeadIndex> centres_;
  std::unique_ptr<Codec> codec_;
  std::vector<uint32_t> begin_;
  std::vector<uint32_t> members_;
  std::vector<std::byte> planes_;

  // Derived.
  PackedVectors projection_;
  std::vector<size_t> plane_begin_;
};

}  // namespace tessera::index
