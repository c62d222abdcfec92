// One unit of a chunk of rows: the column of a path, the rows themselves, their ids, the rest.
//
//   u32 crc32c of all behind | u8 version 1 | u8 kind | u16 sections | u32 rows | u32 key bytes
//   path key, zeros up to a multiple of 8
//   per section: u8 kind | u8 width | u8 scale | u8 flags | u32 count | u32 offset | u32 bytes
//                | u64 base
//   sections, each at a multiple of 8
//
// Threads: immutable views; free functions without shared state.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tessera::query {

inline constexpr uint32_t kChunkRowsMax = 4096;
inline constexpr uint32_t kChunkBlocksMax = 4096;  // from the first block of a chunk to its last

enum class UnitKind : uint8_t {
  kRows = 1,  // which positions the rows have
  kIds = 2,   // external ids
  kPath = 3,  // one path, all its types
  kRest = 4,  // records of the paths that have no unit of their own
};

enum class SectionKind : uint8_t {
  // Sets of rows.
  kExists = 1,
  kNull = 2,
  kFalse = 3,
  kTrue = 4,
  // Keys of rows, bit-sliced or inverted.
  kInts = 5,       // key = value ^ 2^63
  kDecimals = 6,   // the same of value x 10^scale
  kDoubles = 7,    // IEEE bits, ordered
  kCodes = 8,      // places in kStrings
  kDatetimes = 9,  // microseconds ^ 2^63, of the strings that are RFC 3339
  kNumbers = 10,   // ids that are numbers, as they are
  // Others.
  kStrings = 11,  // sorted, each once
  kGeos = 12,
  kBlocks = 13,   // a word a block; base: the first block
  kRecords = 14,  // field records
};

inline constexpr uint8_t kSectionAllRows = 1;   // no presence words: every row has one
inline constexpr uint8_t kSectionInverted = 2;  // rows of each key, for rows with several keys

struct Section {
  SectionKind kind = SectionKind::kExists;
  uint8_t width = 0;
  uint8_t scale = 0;
  uint8_t flags = 0;
  uint32_t count = 0;
  uint64_t base = 0;
  std::string_view bytes = {};

  bool all_rows() const { return (flags & kSectionAllRows) != 0; }
  bool inverted() const { return (flags & kSectionInverted) != 0; }
};

// A set of rows has its words, if any, at `bytes`; a column presence words, if any, then `width`
// times the words of a slice, most significant first. The top of a column's keys is at most
// base + 2^width - 1.
struct UnitView {
  UnitKind kind = UnitKind::kRows;
  uint32_t rows = 0;
  std::string_view key;
  absl::InlinedVector<Section, 8> sections;

  const Section* Find(SectionKind wanted, bool inverted = false) const;
};

// The places of everything. Cost: O(sections), the checksum is not looked at.
// Errors: kDataLoss when a section is not within the unit or has not the size it must have.
absl::StatusOr<UnitView> ParseUnit(std::string_view unit);

// All that can be checked of a unit alone. What passes can be evaluated and decoded; what only
// ParseUnit passed is answered wrongly or with kDataLoss, but never read past its end.
absl::Status ValidateUnit(std::string_view unit);

std::string EncodeUnit(UnitKind kind, uint32_t rows, std::string_view key,
                       const std::vector<Section>& sections);

// Rows of each key of an inverted section:
//   u64 keys | per key u32 end of its rows in bytes, top bit: a bitmap | rows, u16 each, or words
class InvertedView {
 public:
  InvertedView(const Section& section, uint32_t rows) : section_(section), rows_(rows) {}
  uint32_t count() const { return section_.count; }
  uint64_t key(uint32_t i) const;
  // The first of the keys at or above `key`.
  uint32_t LowerBound(uint64_t key) const;
  // Sets the bits of the rows of key `i`.
  void Mark(uint32_t i, uint64_t* words) const;

 private:
  const Section& section_;
  uint32_t rows_;
};

}  // namespace tessera::query
