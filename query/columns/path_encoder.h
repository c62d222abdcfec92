// The unit of one path of a chunk.
//
// Threads: belongs to one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "query/columns/unit.h"
#include "query/filter/field_value.h"

namespace tessera::query {

using RowKeys = std::vector<std::pair<uint16_t, uint64_t>>;  // rows ascending

// Sections of some kind of keys: slices for rows with one of them, and for the others inverted.
// `kept` holds what the sections view.
void EncodeKeys(SectionKind kind, uint8_t scale, uint32_t rows, RowKeys keys,
                std::vector<std::string>* kept, std::vector<Section>* sections);

class PathEncoder {
 public:
  // Rows ascending, the values of a row by Compare. Texts must outlive Finish.
  void AddRow(uint16_t row) { exists_.push_back(row); }
  void AddValue(uint16_t row, const FieldValue& value);

  std::string Finish(std::string_view key, uint32_t rows) const;

 private:
  using RowTexts = std::vector<std::pair<uint16_t, std::string_view>>;

  std::vector<uint16_t> exists_;
  std::vector<uint16_t> simple_[3];  // null, false, true
  std::vector<std::pair<uint16_t, int64_t>> ints_;
  std::vector<std::pair<uint16_t, double>> doubles_;
  RowTexts texts_;
  std::vector<std::pair<uint16_t, FieldValue>> geos_;
};

// Dictionary and codes.
void EncodeTexts(uint32_t rows, const std::vector<std::pair<uint16_t, std::string_view>>& texts,
                 std::vector<std::string>* kept, std::vector<Section>* sections);

}  // namespace tessera::query
