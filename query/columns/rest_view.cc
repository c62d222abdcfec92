#include "query/columns/rest_view.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "query/columns/slice_kernels.h"
#include "query/columns/words.h"

namespace tessera::query {

RestView::RestView(const UnitView& unit) {
  const Section* section = unit.Find(SectionKind::kRecords);
  if (section == nullptr) return;
  count_ = section->count;
  bytes_ = section->bytes;
}

uint16_t RestView::row(uint32_t i) const {
  uint16_t row;
  std::memcpy(&row, bytes_.data() + size_t{2} * i, sizeof(row));
  return row;
}

std::string_view RestView::record(uint32_t i) const {
  const size_t ends = size_t{2} * count_ + 2;
  const std::string_view records = bytes_.substr(ends + size_t{4} * count_);
  uint32_t begin = 0;
  uint32_t end = 0;
  if (i > 0) std::memcpy(&begin, bytes_.data() + ends + size_t{4} * (i - 1), sizeof(begin));
  std::memcpy(&end, bytes_.data() + ends + size_t{4} * i, sizeof(end));
  if (begin > end || end > records.size()) return {};
  return records.substr(begin, end - begin);
}

void SpreadRows(const Section& blocks, const uint64_t* dense, uint32_t rows, uint64_t* words) {
  ActiveSliceKernels().spread(blocks.bytes.data(), blocks.count, dense, rows, words);
}

void GatherRows(const Section& blocks, const uint64_t* words, uint32_t rows, uint64_t* dense) {
  std::fill_n(dense, WordCount(rows), 0);
  uint32_t row = 0;
  for (uint32_t block = 0; block < blocks.count; ++block) {
    const uint64_t there = LoadWord(blocks.bytes.data() + size_t{8} * block);
    const auto count = static_cast<uint32_t>(std::popcount(there));
    if (count == 0 || count > rows - row) continue;
    const uint64_t bits = Extract(words[block], there);
    dense[row / 64] |= bits << (row % 64);
    if (row % 64 + count > 64) dense[row / 64 + 1] |= bits >> (64 - row % 64);
    row += count;
  }
}

}  // namespace tessera::query
