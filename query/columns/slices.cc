#include "query/columns/slices.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "query/columns/words.h"

namespace tessera::query {
namespace {

constexpr uint32_t kGroup = 8;      // words that go through the slices together
constexpr size_t kRangesMax = 4;    // more are looked up key by key
constexpr unsigned kLookEvery = 4;  // slices, between looks whether anything is undecided

// A column with ranges taken off its base.
struct Column {
  const char* presence = nullptr;
  const char* slices = nullptr;
  uint32_t rows = 0;
  unsigned width = 0;
  size_t stride = 0;

  uint64_t Present(uint32_t word) const {
    return presence == nullptr ? ValidBits(rows, word) : LoadWord(presence + size_t{8} * word);
  }
};

Column ColumnOf(const Section& section, uint32_t rows) {
  const size_t stride = size_t{8} * WordCount(rows);
  const char* at = section.bytes.data();
  return {.presence = section.all_rows() ? nullptr : at,
          .slices = section.all_rows() ? at : at + stride,
          .rows = rows,
          .width = section.width,
          .stride = stride};
}

// Of a group of words. Low bounds need no slice below their lowest bit, high bounds none below
// their lowest clear one: all rows still equal there are within.
void MarkGroup(const Column& column, uint64_t low, uint64_t high, uint32_t word, uint32_t words,
               const uint64_t* candidates, uint64_t* out) {
  std::array<uint64_t, kGroup> eq_low{};
  std::array<uint64_t, kGroup> eq_high{};
  std::array<uint64_t, kGroup> above{};
  std::array<uint64_t, kGroup> below{};
  uint64_t any = 0;
  for (uint32_t i = 0; i < words; ++i) {
    eq_low[i] = column.Present(word + i) & candidates[i];
    eq_high[i] = eq_low[i];
    any |= eq_low[i];
  }
  if (any == 0) return;
  const uint64_t all = LowBits(column.width);
  const unsigned low_stop = low == 0 ? column.width : static_cast<unsigned>(std::countr_zero(low));
  const unsigned high_stop =
      high == all ? column.width : static_cast<unsigned>(std::countr_one(high));
  const unsigned stop = std::min(low_stop, high_stop);
  const auto pass_low = [&](unsigned bit) {
    if (bit != low_stop) return;
    for (uint32_t i = 0; i < kGroup; ++i) above[i] |= std::exchange(eq_low[i], 0);
  };
  const auto pass_high = [&](unsigned bit) {
    if (bit != high_stop) return;
    for (uint32_t i = 0; i < kGroup; ++i) below[i] |= std::exchange(eq_high[i], 0);
  };
  pass_low(column.width);
  pass_high(column.width);
  unsigned looked = 0;
  for (unsigned bit = column.width; bit > stop;) {
    --bit;
    std::array<uint64_t, kGroup> slice{};
    std::memcpy(slice.data(), column.slices + (column.width - 1 - bit) * column.stride + 8 * word,
                size_t{8} * words);
    if (bit >= low_stop) {
      const uint64_t set = 0 - ((low >> bit) & 1);
      for (uint32_t i = 0; i < kGroup; ++i) {
        above[i] |= eq_low[i] & slice[i] & ~set;
        eq_low[i] &= ~(slice[i] ^ set);
      }
      pass_low(bit);
    }
    if (bit >= high_stop) {
      const uint64_t set = 0 - ((high >> bit) & 1);
      for (uint32_t i = 0; i < kGroup; ++i) {
        below[i] |= eq_high[i] & ~slice[i] & set;
        eq_high[i] &= ~(slice[i] ^ set);
      }
      pass_high(bit);
    }
    if (++looked % kLookEvery != 0) continue;
    // A row off both bounds is decided, and so is one that is out at either.
    uint64_t undecided = 0;
    for (uint32_t i = 0; i < kGroup; ++i) {
      undecided |= (eq_low[i] & (eq_high[i] | below[i])) | (eq_high[i] & (eq_low[i] | above[i]));
    }
    if (undecided == 0) break;
  }
  for (uint32_t i = 0; i < words; ++i) {
    out[i] |= above[i] & below[i];
  }
}

void MarkRange(const Column& column, uint64_t low, uint64_t high, const uint64_t* candidates,
               uint64_t* out) {
  const uint32_t words = WordCount(column.rows);
  for (uint32_t word = 0; word < words; word += kGroup) {
    MarkGroup(column, low, high, word, std::min(kGroup, words - word), candidates + word,
              out + word);
  }
}

bool IsIn(const KeyRanges& ranges, uint64_t key) {
  const auto at = std::partition_point(ranges.begin(), ranges.end(),
                                       [&](const KeyRange& range) { return range.high < key; });
  return at != ranges.end() && at->low <= key;
}

}  // namespace

uint64_t LoadKeys(const Section& section, uint32_t rows, uint32_t word, uint64_t* keys) {
  const Column column = ColumnOf(section, rows);
  std::fill_n(keys, 64, 0);
  for (unsigned bit = 0; bit < column.width; ++bit) {
    keys[bit] =
        LoadWord(column.slices + (column.width - 1 - bit) * column.stride + size_t{8} * word);
  }
  if (column.width > 0) Transpose64(keys);
  for (unsigned i = 0; i < 64; ++i) keys[i] += section.base;
  return column.Present(word) & ValidBits(rows, word);
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
  const Column column = ColumnOf(section, rows);
  const uint64_t all = LowBits(section.width);
  if (ranges.size() <= kRangesMax) {
    for (const KeyRange& range : ranges) {
      if (range.high < section.base) continue;
      const uint64_t low = range.low < section.base ? 0 : range.low - section.base;
      if (low > all) continue;
      MarkRange(column, low, std::min(all, range.high - section.base), candidates, out);
    }
    return;
  }
  for (uint32_t word = 0; word < WordCount(rows); ++word) {
    std::array<uint64_t, 64> keys;
    uint64_t left = candidates[word] & column.Present(word);
    if (left == 0) continue;
    LoadKeys(section, rows, word, keys.data());
    for (; left != 0; left &= left - 1) {
      const auto row = static_cast<unsigned>(std::countr_zero(left));
      if (IsIn(ranges, keys[row])) out[word] |= uint64_t{1} << row;
    }
  }
}

void MarkRows(const Section& section, uint32_t rows, const uint64_t* candidates, uint64_t* out) {
  for (uint32_t word = 0; word < WordCount(rows); ++word) {
    out[word] |= candidates[word] & (section.all_rows()
                                         ? ValidBits(rows, word)
                                         : LoadWord(section.bytes.data() + size_t{8} * word));
  }
}

}  // namespace tessera::query
