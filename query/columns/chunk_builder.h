// Rows -> the units of a chunk.
//
// A position is 64 * block + slot. Inside a chunk rows are dense: row 0 .. rows - 1 in the order of
// positions, whatever gaps those have. Columns know rows alone, so that no condition, negated or
// not, can hold for a slot without a row.
//
// Threads: belongs to one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

#include "query/columns/unit.h"

namespace tessera::query {

inline constexpr size_t kChunkRecordBytesMax = size_t{8} << 20;
inline constexpr size_t kChunkEntriesMax = size_t{1} << 20;
inline constexpr size_t kChunkPathsMax = 256;  // with units of their own
// With more paths than this those in fewer than a 64th of the rows have no unit.
inline constexpr size_t kChunkPathsFew = 64;

struct EncodedUnit {
  UnitKind kind = UnitKind::kRows;
  std::string key;  // of kPath
  std::string bytes;
};

struct EncodedChunk {
  uint64_t first_block = 0;
  uint32_t blocks = 0;  // from the first to the last with a row
  uint32_t rows = 0;
  std::vector<EncodedUnit> units;  // kRows, kIds, kPath by key, kRest if there is one
};

class ChunkBuilder {
 public:
  bool empty() const { return rows_.empty(); }
  // No more rows, or paths, fit.
  bool full() const;
  // Whether the row can be added: not full, and its block is near enough to the first.
  bool Takes(uint64_t position) const;

  // `id_key`: PointId::EncodeKey. Pre: Takes(position), positions ascend, EncodeFields's record.
  void Add(uint64_t position, std::string_view id_key, std::string_view record);

  // The chunk; the builder is empty again. Pre: not empty().
  // Cost: about 55 ns a row and field, with Add.
  EncodedChunk Finish();

 private:
  struct Row {
    uint64_t position = 0;
    size_t id_end = 0;
    size_t entry_end = 0;
  };
  // Of a record; where its values are in `values_`.
  struct Entry {
    uint32_t path = 0;
    uint32_t begin = 0;
    uint32_t end = 0;
  };
  struct Path {
    std::string key;
    uint32_t rows = 0;
  };

  std::string_view IdOf(size_t row) const;
  // The paths that get a unit: 1 + its place among those, by path; 0: none.
  std::vector<uint32_t> ChooseUnits(std::vector<uint32_t>* chosen) const;
  // `entry`: its place in the record; rows of one shape cost no hash.
  uint32_t PathIndex(std::string_view key, size_t entry);
  std::string RowsUnit(EncodedChunk* chunk) const;
  std::string IdsUnit() const;
  void PathUnits(EncodedChunk* chunk);

  std::vector<Row> rows_;
  size_t record_bytes_ = 0;
  std::string ids_;
  std::string values_;           // of all entries
  std::vector<Entry> entries_;  // so that no record is taken apart twice
  std::vector<Path> paths_;
  absl::flat_hash_map<std::string, uint32_t> path_of_key_;
  std::vector<uint32_t> shape_;  // paths by entry, of the last row
};

}  // namespace tessera::query
