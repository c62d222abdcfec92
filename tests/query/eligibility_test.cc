#include "query/eligibility.h"

#include <bit>
#include <cstdint>
#include <random>
#include <vector>

#include "gtest/gtest.h"

#include "index/codecs/codec.h"
#include "query/searcher.h"
#include "tests/query/index_fixture.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::query {
namespace {

class EligibilityTest : public testing::Test {
 protected:
  EligibilityTest() : data_(TestSeed(), options_.field), index_(options_, data_.DrawRows(kRows)) {}

  static constexpr size_t kRows = 2000;
  const TestIndexOptions options_{.parts_per_list = 2};
  ClusteredData data_;
  TestIndex index_;
};

TEST_F(EligibilityTest, WithoutDeadRowsAllAre) {
  const SearchView view = index_.View();
  const Eligibility eligible(view);
  EXPECT_TRUE(eligible.all());
  EXPECT_EQ(eligible.count(), kRows);
  for (const ListPart& part : view.index->parts) EXPECT_EQ(eligible.CountIn(part), part.rows);
  const SearchView nothing{.field = options_.field, .index = nullptr, .live = {}, .fresh = {}};
  EXPECT_EQ(Eligibility(nothing).count(), 0U);
}

TEST_F(EligibilityTest, MaskCountAndRowsAgree) {
  std::vector<size_t> dead;
  for (size_t i = 0; i < kRows; ++i) {
    if (data_.rng()() % 3 == 0) dead.push_back(i);
  }
  index_.Kill(dead);
  const SearchView view = index_.View();
  const Eligibility eligible(view);
  EXPECT_FALSE(eligible.all());
  EXPECT_EQ(eligible.count(), kRows - dead.size());
  uint64_t total = 0;
  for (const ListPart& part : view.index->parts) {
    std::vector<uint64_t> mask(index::BlockCount(part.rows));
    const uint32_t count = eligible.MaskOf(part, mask.data());
    EXPECT_EQ(count, eligible.CountIn(part));
    uint32_t seen = 0;
    for (uint32_t slot = 0; slot < part.rows; ++slot) {
      const bool in_mask = (mask[slot / 64] >> (slot % 64) & 1) != 0;
      EXPECT_EQ(in_mask, eligible.Has(part, slot));
      seen += in_mask ? 1 : 0;
    }
    EXPECT_EQ(seen, count);
    total += count;
  }
  EXPECT_EQ(total, eligible.count());
}

// Where every row of most lists is dead, the search goes on to those that hold something.
TEST_F(EligibilityTest, SearchesGoOnUntilEnoughEligibleRowsAreProbed) {
  std::vector<size_t> dead;
  for (size_t i = 0; i < kRows; ++i) {
    if (i % 100 != 0) dead.push_back(i);
  }
  index_.Kill(dead);
  Searcher searcher;
  SearchRequest request;
  request.limit = 15;
  request.settings = {.nprobe = 1, .eps = 4, .rerank = 100};
  std::vector<Hit> hits;
  SearchStats stats;
  ASSERT_OK(searcher.Search(index_.View(), data_.DrawQuery(), request, &hits, &stats));
  EXPECT_EQ(hits.size(), 15U);
  EXPECT_GT(stats.lists_probed, 15U / 2);
  request.exact = true;
  ASSERT_OK(searcher.Search(index_.View(), data_.DrawQuery(), request, &hits, &stats));
  EXPECT_EQ(stats.reranked, 20U);
}

}  // namespace
}  // namespace tessera::query
