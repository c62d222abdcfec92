// A row found by a search, before payloads are attached.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/point_id.h"
#include "base/types.h"

namespace tessera::query {

// The external id of a hit as the raw plane keeps it: whole for numbers, UUIDs and strings of at
// most 16 bytes; of a longer string only its first 8 bytes and a hash.
//
// Order: as base::PointId's, except that a longer string's bytes from the ninth on are compared by
// their hash: equal distances among such ids may come in another order than the strings'.
class HitId {
 public:
  enum class Kind : uint8_t { kNumber = 0, kUuid = 1, kString = 2, kLongString = 3 };
  static constexpr size_t kInlineBytes = 16;

  HitId() = default;
  static HitId Number(uint64_t number) { return {Kind::kNumber, 0, 0, number}; }
  // `bytes` [16]: a UUID's.
  static HitId FromUuid(const uint8_t* bytes);
  // Pre: at most kInlineBytes bytes.
  static HitId ShortString(std::string_view text);
  // `prefix` [8].
  static HitId LongString(const uint8_t* prefix, uint64_t hash);

  Kind kind() const { return kind_; }
  // False for a longer string: the row store has its text, under the hit's row.
  bool resolved() const { return kind_ != Kind::kLongString; }
  static HitId FromPointId(const base::PointId& id);

  // Pre: resolved().
  base::PointId ToPointId() const;

  friend bool operator==(const HitId&, const HitId&) = default;
  friend bool operator<(const HitId& a, const HitId& b) {
    // Both kinds of strings compare by their bytes.
    const int rank_a = a.kind_ == Kind::kLongString ? 2 : static_cast<int>(a.kind_);
    const int rank_b = b.kind_ == Kind::kLongString ? 2 : static_cast<int>(b.kind_);
    if (rank_a != rank_b) return rank_a < rank_b;
    if (a.high_ != b.high_) return a.high_ < b.high_;
    if (a.low_ != b.low_) return a.low_ < b.low_;
    return a.length_ < b.length_;
  }

 private:
  HitId(Kind kind, uint8_t length, uint64_t high, uint64_t low)
      : kind_(kind), length_(length), high_(high), low_(low) {}

  Kind kind_ = Kind::kNumber;
  uint8_t length_ = 0;  // of a short string
  uint64_t high_ = 0;   // big-endian words of the bytes, so that integer order is byte order
  uint64_t low_ = 0;
};

// dissimilarity: squared L2, -inner product or -cosine, computed on the vectors as they were sent.
struct Hit {
  float dissimilarity = 0;
  HitId id;
  base::RowId row;
  uint64_t version = 0;

  // The order of replies: nearest first, ties to the smaller id, then to the older row.
  friend bool operator<(const Hit& a, const Hit& b) {
    if (a.dissimilarity != b.dissimilarity) return a.dissimilarity < b.dissimilarity;
    if (!(a.id == b.id)) return a.id < b.id;
    return a.row < b.row;
  }
};

// The hit of a row by its valid raw-plane header (index/raw_plane.h).
Hit ToHit(const std::byte* header, float dissimilarity);

}  // namespace tessera::query
