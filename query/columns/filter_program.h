// A filter over the units of chunks.
//
// Threads: immutable; concurrent calls allowed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

#include "query/columns/unit.h"
#include "query/filter/record_filter.h"

namespace tessera::query {

// What a program reads of a chunk. Units may have any alignment.
struct ChunkUnits {
  uint32_t rows = 0;
  uint32_t blocks = 0;
  std::string_view rows_unit;
  std::string_view ids_unit = {};               // if wants_ids()
  std::span<const std::string_view> paths = {};  // one per paths(); empty: the chunk has none
  std::string_view rest_unit = {};               // empty: none
};

class FilterProgram {
 public:
  explicit FilterProgram(const Filter& normalized) : tree_(normalized) { LookForIds(); }

  // Path keys, ascending, each once.
  const std::vector<std::string>& paths() const { return tree_.paths; }
  bool wants_ids() const { return wants_ids_; }

  // Writes a word for each of the chunk's blocks: the positions of the rows that match.
  // Pre: ValidateUnit passed the units. Errors: kDataLoss when they do not belong together.
  // Cost: 4 .. 25 ns for 64 rows and condition; a path in the rest unit a
  //       walk of each row's record.
  absl::Status Evaluate(const ChunkUnits& units, uint64_t* words) const;

 private:
  void LookForIds();

  FilterTree tree_;
  bool wants_ids_ = false;
};

}  // namespace tessera::query
