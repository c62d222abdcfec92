// Where the columns of an index version are: the blob kColumns of its record.
//
// The rows that were published together, in the order of their positions, are cut into chunks; a
// chunk has a unit for each path (query/columns/), and its units follow each other in one extent,
// each at a multiple of 64 bytes. A chunk may begin in the block that the one before ends in. The
// chunks of one publish, or of several that were merged, are a
// column set. Sets are of disjoint ranges of positions, ascending.
//
// Layout, little-endian:
//   varint sets, per set:
//     varint paths | paths x { varint bytes | path key } |
//     varint chunks | chunks x { varint first block, less the last block of the chunk before |
//       varint blocks | varint rows | u32 file | u64 offset | varint units |
//       units x { u8 kind | varint path, of a kPath unit | varint bytes } }
//   u32 crc32c of everything before it
//
// Threads: value types and free functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "query/columns/chunk_builder.h"

namespace tessera::version {

inline constexpr uint64_t kColumnUnitAlignment = 64;

struct ColumnUnit {
  query::UnitKind kind = query::UnitKind::kRows;
  uint32_t path = 0;  // number in ColumnSet::paths, of a kPath unit
  uint32_t bytes = 0;
  friend bool operator==(const ColumnUnit&, const ColumnUnit&) = default;
};

struct ColumnChunk {
  uint32_t first_block = 0;
  uint32_t blocks = 0;
  uint32_t rows = 0;
  uint32_t file = 0;
  uint64_t offset = 0;      // of its first unit
  uint32_t first_unit = 0;  // in ColumnSet::units
  uint32_t units = 0;
  friend bool operator==(const ColumnChunk&, const ColumnChunk&) = default;

  uint64_t end_block() const { return uint64_t{first_block} + blocks; }
};

struct ColumnSet {
  std::vector<std::string> paths;  // path keys, each once
  std::vector<ColumnChunk> chunks;
  std::vector<ColumnUnit> units;
  friend bool operator==(const ColumnSet&, const ColumnSet&) = default;

  uint64_t rows() const;
};

// A unit's offset from that of the one before.
inline uint64_t ColumnUnitStride(uint64_t bytes) {
  return (bytes + kColumnUnitAlignment - 1) / kColumnUnitAlignment * kColumnUnitAlignment;
}

std::string EncodeColumnDirectory(std::span<const ColumnSet> sets);
// Errors: kDataLoss for any damage.
absl::StatusOr<std::vector<ColumnSet>> DecodeColumnDirectory(std::string_view bytes);

}  // namespace tessera::version
