// Where rows are, and the records of paths without a unit.
//
// Threads: immutable views; free functions without shared state.
#pragma once

#include <cstdint>
#include <string_view>

#include "query/columns/unit.h"

namespace tessera::query {

// Rows that have a record: u16 rows | 2 zeros | u32 ends | records.
class RestView {
 public:
  explicit RestView(const UnitView& unit);
  uint32_t count() const { return count_; }
  uint16_t row(uint32_t i) const;
  std::string_view record(uint32_t i) const;

 private:
  uint32_t count_ = 0;
  std::string_view bytes_;
};

// Bits of rows -> bits of positions, a word a block, and back.
// Pre: the section of a rows unit; `dense` has words for `rows` rows.
void SpreadRows(const Section& blocks, const uint64_t* dense, uint32_t rows, uint64_t* words);
void GatherRows(const Section& blocks, const uint64_t* words, uint32_t rows, uint64_t* dense);

}  // namespace tessera::query
