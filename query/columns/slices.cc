#include "query/columns/slices.h"

#include <algorithm>
#include <array>
#include <bit>
#include <span>

#include "query/columns/slice_kernels.h"
#include "query/columns/words.h"

namespace tessera::query {
namespace {

constexpr size_t kTreeBitsMax = 1024;   // ranges x width; more are looked up key by key
constexpr unsigned kTableWidthMax = 13;  // with a table of the keys where they are this short

SliceColumn ColumnOf(const Section& section, uint32_t rows) {
  const uint32_t words = WordCount(rows);
  const char* at = section.bytes.data();
  return {.presence = section.all_rows() ? nullptr : at,
          .slices = section.all_rows() ? at : at + size_t{8} * words,
          .words = words,
          .width = section.width};
}

// Ranges of keys off the column's base, those side by side as one. What a damaged dictionary gives
// out of order is left out: else a tree of ranges would have no bound.
KeyRanges OffBase(const Section& section, const KeyRanges& ranges) {
  const uint64_t all = LowBits(section.width);
  KeyRanges off;
  for (const KeyRange& range : ranges) {
    if (range.high < section.base) continue;
    const uint64_t low = range.low < section.base ? 0 : range.low - section.base;
    if (low > all) continue;
    const uint64_t high = std::min(all, range.high - section.base);
    if (high < low || (!off.empty() && low <= off.back().high)) continue;
    if (!off.empty() && off.back().high + 1 == low) {
      off.back().high = high;
    } else {
      off.push_back({low, high});
    }
  }
  return off;
}

// The node of the keys `first` .. `first` + 2^bits - 1. Pre: the ranges each have one of them.
// NOLINTNEXTLINE(misc-no-recursion): as deep as a key has bits
uint32_t Grow(uint64_t first, unsigned bits, std::span<const KeyRange> ranges, BitTree* tree) {
  if (ranges.empty()) return BitTree::kNone;
  const uint64_t last = first + LowBits(bits);
  if (ranges.front().low <= first && ranges.front().high >= last) return BitTree::kAll;
  const auto at = static_cast<uint32_t>(tree->nodes.size());
  tree->nodes.push_back({.bit = bits - 1});
  const uint64_t middle = first + (uint64_t{1} << (bits - 1));
  const auto below =
      std::partition_point(ranges.begin(), ranges.end(),
                           [&](const KeyRange& range) { return range.low < middle; });
  const auto above =
      std::partition_point(ranges.begin(), ranges.end(),
                           [&](const KeyRange& range) { return range.high < middle; });
  const uint32_t clear = Grow(first, bits - 1, {ranges.begin(), below}, tree);
  const uint32_t set = Grow(middle, bits - 1, {above, ranges.end()}, tree);
  tree->nodes[at].child[0] = clear;
  tree->nodes[at].child[1] = set;
  return at;
}

bool IsIn(const KeyRanges& ranges, uint64_t key) {
  const auto at = std::partition_point(ranges.begin(), ranges.end(),
                                       [&](const KeyRange& range) { return range.high < key; });
  return at != ranges.end() && at->low <= key;
}

// Key by key. Keys and ranges are off the base.
void LookUp(const Section& section, uint32_t rows, const KeyRanges& ranges,
            const uint64_t* candidates, uint64_t* out) {
  std::array<uint64_t, (size_t{1} << kTableWidthMax) / 64> table;
  const bool small = section.width <= kTableWidthMax;
  if (small) {
    std::fill_n(table.begin(), WordCount(1U << section.width), 0);
    for (const KeyRange& range : ranges) {
      for (uint64_t key = range.low; key <= range.high; ++key) {
        table[key / 64] |= uint64_t{1} << (key % 64);
      }
    }
  }
  for (uint32_t word = 0; word < WordCount(rows); ++word) {
    if (candidates[word] == 0) continue;
    std::array<uint64_t, 64> keys;
    uint64_t left = candidates[word] & LoadKeys(section, rows, word, keys.data());
    for (; left != 0; left &= left - 1) {
      const auto row = static_cast<unsigned>(std::countr_zero(left));
      const uint64_t key = keys[row] - section.base;
      const bool in = small ? (table[key / 64] >> (key % 64) & 1) != 0 : IsIn(ranges, key);
      out[word] |= uint64_t{in} << row;
    }
  }
}

}  // namespace

BitTree TreeOf(const KeyRanges& ranges, unsigned width) {
  BitTree tree;
  tree.root = Grow(0, width, ranges, &tree);
  return tree;
}

uint64_t LoadKeys(const Section& section, uint32_t rows, uint32_t word, uint64_t* keys) {
  const SliceColumn column = ColumnOf(section, rows);
  std::fill_n(keys, 64, 0);
  for (unsigned bit = 0; bit < column.width; ++bit) {
    keys[bit] = LoadWord(column.Slice(bit) + size_t{8} * word);
  }
  if (column.width > 0) Transpose64(keys);
  for (unsigned i = 0; i < 64; ++i) keys[i] += section.base;
  const uint64_t valid = ValidBits(rows, word);
  return column.presence == nullptr ? valid : valid & LoadWord(column.presence + size_t{8} * word);
}

void MarkKeys(const Section& section, uint32_t rows, const KeyRanges& ranges,
              const uint64_t* candidates, uint64_t* out) {
  if (section.inverted()) {
    const InvertedView view(section, rows);
    std::array<uint64_t, kChunkRowsMax / 64> marked{};
    for (const KeyRange& range : ranges) {
      for (uint32_t i = view.LowerBound(range.low); i < view.count() && view.key(i) <= range.high;
           ++i) {
        view.Mark(i, marked.data());
      }
    }
    for (uint32_t i = 0; i < WordCount(rows); ++i) out[i] |= marked[i] & candidates[i];
    return;
  }
  const SliceColumn column = ColumnOf(section, rows);
  const SliceKernels& kernels = ActiveSliceKernels();
  const KeyRanges off = OffBase(section, ranges);
  if (off.size() == 1) {
    kernels.mark_range(column, off[0].low, off[0].high, candidates, out);
  } else if (off.size() * section.width <= kTreeBitsMax) {
    kernels.mark_tree(column, TreeOf(off, section.width), candidates, out);
  } else {
    LookUp(section, rows, off, candidates, out);
  }
}

void MarkRows(const Section& section, uint32_t rows, const uint64_t* candidates, uint64_t* out) {
  const uint32_t words = WordCount(rows);
  if (section.all_rows()) {
    for (uint32_t word = 0; word < words; ++word) out[word] |= candidates[word];
    return;
  }
  const char* at = section.bytes.data();
  for (uint32_t word = 0; word < words; ++word) {
    out[word] |= candidates[word] & LoadWord(at + size_t{8} * word);
  }
}

}  // namespace tessera::query
