#include "query/columns/slice_kernels.h"

#include <algorithm>
#include <bit>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "query/columns/slices.h"
#include "query/columns/words.h"
#include "tests/support/seed.h"

namespace tessera::query {
namespace {

// A column of drawn keys, and which rows have one.
struct Drawn {
  uint32_t rows = 0;
  unsigned width = 0;
  std::vector<uint64_t> keys = {};
  std::vector<uint64_t> present = {};
  std::vector<uint64_t> candidates = {};
  std::string bytes = {};  // a byte against alignment, presence words, slices
  bool all_rows = false;

  SliceColumn column() const {
    const char* at = bytes.data() + 1;
    return {.presence = all_rows ? nullptr : at,
            .slices = all_rows ? at : at + present.size() * 8,
            .words = WordCount(rows),
            .width = width};
  }
  bool has(uint32_t row) const {
    return (candidates[row / 64] & present[row / 64]) >> (row % 64) & 1;
  }
};

bool Bit(const std::vector<uint64_t>& words, uint32_t row) {
  return (words[row / 64] >> (row % 64) & 1) != 0;
}

Drawn Draw(std::mt19937_64* rng, unsigned width) {
  Drawn drawn{.rows = 1 + static_cast<uint32_t>((*rng)() % 1300), .width = width};
  drawn.all_rows = (*rng)() % 2 == 0;
  const uint32_t words = WordCount(drawn.rows);
  drawn.keys.resize(drawn.rows);
  for (uint64_t& key : drawn.keys) key = (*rng)() & LowBits(width);
  for (uint32_t i = 0; i < words; ++i) {
    const uint64_t valid = ValidBits(drawn.rows, i);
    drawn.present.push_back(drawn.all_rows ? valid : (*rng)() & valid);
    drawn.candidates.push_back((*rng)() % 4 == 0 ? 0 : (*rng)() & valid);
  }
  std::vector<uint64_t> slices(size_t{width} * words);
  for (uint32_t row = 0; row < drawn.rows; ++row) {
    for (unsigned bit = 0; bit < width; ++bit) {
      slices[size_t{width - 1 - bit} * words + row / 64] |= (drawn.keys[row] >> bit & 1)
                                                            << (row % 64);
    }
  }
  drawn.bytes.push_back('x');
  const auto append = [&](const std::vector<uint64_t>& of) {
    drawn.bytes.append(reinterpret_cast<const char*>(of.data()), of.size() * 8);
  };
  if (!drawn.all_rows) append(drawn.present);
  append(slices);
  drawn.bytes.shrink_to_fit();
  return drawn;
}

// Of a bound that leaves many slices out, or is one of the keys, as often as any.
uint64_t DrawBound(std::mt19937_64* rng, const Drawn& drawn) {
  const uint64_t all = LowBits(drawn.width);
  switch ((*rng)() % 5) {
    case 0:
      return drawn.keys[(*rng)() % drawn.rows];
    case 1:
      return ((*rng)() & all) & ~LowBits(static_cast<unsigned>((*rng)() % 65));
    case 2:
      return (((*rng)() & all) | LowBits(static_cast<unsigned>((*rng)() % 65))) & all;
    case 3:
      return (*rng)() % 2 == 0 ? 0 : all;
    default:
      return (*rng)() & all;
  }
}

class SliceKernelsTest : public testing::TestWithParam<base::CpuLevel> {
 protected:
  const SliceKernels& kernels_ = SliceKernelsFor(GetParam());
  std::mt19937_64 rng_{TestSeed()};
};

TEST_P(SliceKernelsTest, RangesHoldForTheKeysWithin) {
  for (unsigned width = 0; width <= 64; ++width) {
    for (int i = 0; i < 12; ++i) {
      const Drawn drawn = Draw(&rng_, width);
      uint64_t low = DrawBound(&rng_, drawn);
      uint64_t high = i % 4 == 0 ? low : DrawBound(&rng_, drawn);
      if (low > high) std::swap(low, high);
      std::vector<uint64_t> out(drawn.present.size());
      kernels_.mark_range(drawn.column(), low, high, drawn.candidates.data(), out.data());
      for (uint32_t row = 0; row < drawn.rows; ++row) {
        const bool within = drawn.keys[row] >= low && drawn.keys[row] <= high;
        ASSERT_EQ(Bit(out, row), drawn.has(row) && within)
            << "width " << width << " low " << low << " high " << high << " row " << row;
      }
    }
  }
}

TEST_P(SliceKernelsTest, TreesHoldForTheKeysOfTheirRanges) {
  for (unsigned width = 0; width <= 64; ++width) {
    for (int i = 0; i < 8; ++i) {
      const Drawn drawn = Draw(&rng_, width);
      std::vector<uint64_t> bounds(2 * (1 + rng_() % 20));
      for (uint64_t& bound : bounds) bound = DrawBound(&rng_, drawn);
      std::sort(bounds.begin(), bounds.end());
      KeyRanges ranges;
      for (size_t at = 0; at < bounds.size(); at += 2) {
        if (!ranges.empty() && bounds[at] - ranges.back().high < 2) continue;
        ranges.push_back({bounds[at], bounds[at + 1]});
      }
      std::vector<uint64_t> out(drawn.present.size());
      kernels_.mark_tree(drawn.column(), TreeOf(ranges, width), drawn.candidates.data(),
                         out.data());
      for (uint32_t row = 0; row < drawn.rows; ++row) {
        bool within = false;
        for (const KeyRange& range : ranges) {
          within = within || (drawn.keys[row] >= range.low && drawn.keys[row] <= range.high);
        }
        ASSERT_EQ(Bit(out, row), drawn.has(row) && within) << "width " << width << " row " << row;
      }
    }
  }
}

TEST_P(SliceKernelsTest, RowsGoToTheSlotsThatHaveOne) {
  for (int i = 0; i < 200; ++i) {
    std::vector<uint64_t> blocks(1 + rng_() % 40);
    uint32_t rows = 0;
    for (uint64_t& block : blocks) {
      const uint64_t drawn = rng_();
      block = drawn % 3 == 0 ? ~uint64_t{0} : drawn % 3 == 1 ? LowBits(drawn % 64) : rng_();
      rows += static_cast<uint32_t>(std::popcount(block));
    }
    if (rows == 0) continue;
    if (i % 10 == 0) rows = 1 + static_cast<uint32_t>(rng_() % rows);  // damage: too few
    std::vector<uint64_t> dense(WordCount(rows));
    for (uint32_t j = 0; j < dense.size(); ++j) dense[j] = rng_() & ValidBits(rows, j);
    std::vector<uint64_t> out(blocks.size(), 7);
    kernels_.spread(reinterpret_cast<const char*>(blocks.data()),
                    static_cast<uint32_t>(blocks.size()), dense.data(), rows, out.data());
    uint32_t row = 0;
    for (size_t j = 0; j < blocks.size(); ++j) {
      uint64_t expected = 0;
      if (static_cast<uint32_t>(std::popcount(blocks[j])) <= rows - row) {
        for (uint64_t left = blocks[j]; left != 0; left &= left - 1, ++row) {
          if (Bit(dense, row)) expected |= left & (0 - left);
        }
      }
      ASSERT_EQ(out[j], expected) << i << " block " << j;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, SliceKernelsTest,
                         testing::ValuesIn(base::SupportedCpuLevels()),
                         [](const auto& level) { return std::string(ToString(level.param)); });

// Many ranges are looked up, few are a tree; both give the same.
TEST(MarkKeys, TakesAnyNumberOfRanges) {
  std::mt19937_64 rng(TestSeed());
  for (const unsigned width : {1U, 5U, 12U, 13U, 14U, 30U, 64U}) {
    for (const size_t count : {size_t{1}, size_t{3}, size_t{60}, size_t{700}}) {
      const Drawn drawn = Draw(&rng, width);
      const uint64_t base = width == 64 ? 0 : 1000;
      const Section section{.kind = SectionKind::kInts,
                            .width = static_cast<uint8_t>(width),
                            .flags = drawn.all_rows ? kSectionAllRows : uint8_t{0},
                            .base = base,
                            .bytes = std::string_view(drawn.bytes).substr(1)};
      std::vector<uint64_t> keys;
      for (size_t i = 0; i < count; ++i) {
        keys.push_back(i % 2 == 0 ? base + drawn.keys[rng() % drawn.rows] : rng() % 3000);
      }
      std::sort(keys.begin(), keys.end());
      keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
      KeyRanges ranges;
      for (const uint64_t key : keys) ranges.push_back({key, key});
      std::vector<uint64_t> out(drawn.present.size());
      MarkKeys(section, drawn.rows, ranges, drawn.candidates.data(), out.data());
      for (uint32_t row = 0; row < drawn.rows; ++row) {
        const bool within = std::binary_search(keys.begin(), keys.end(), base + drawn.keys[row]);
        ASSERT_EQ(Bit(out, row), drawn.has(row) && within) << "width " << width;
      }
    }
  }
}

}  // namespace
}  // namespace tessera::query
