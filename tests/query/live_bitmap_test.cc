#include "query/live_bitmap.h"

#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace tessera::query {
namespace {

TEST(LiveBitmap, StartsAllLiveWithoutMemory) {
  const LiveBitmap live(10'000);
  EXPECT_EQ(live.bits(), 10'000U);
  EXPECT_EQ(live.dead_count(), 0U);
  EXPECT_EQ(live.memory_bytes(), 0U);
  EXPECT_EQ(live.Block(0), ~uint64_t{0});
  EXPECT_EQ(live.Block(156), ~uint64_t{0});
  uint64_t words[4];
  EXPECT_FALSE(live.LoadBlocks(0, 4, words));
}

TEST(LiveBitmap, ClearingLeavesOlderValuesAsTheyWere) {
  const LiveBitmap before(3 * LiveBitmap::kChunkBits);
  const std::vector<uint64_t> first = {0, 4095, 4096, 4096};
  const LiveBitmap middle = before.WithCleared(first);
  const std::vector<uint64_t> second = {4095, 8192 + 70};
  const LiveBitmap after = middle.WithCleared(second);

  EXPECT_EQ(before.dead_count(), 0U);
  EXPECT_TRUE(before.IsLive(4096));
  EXPECT_EQ(middle.dead_count(), 3U) << "a repeated position counts once";
  EXPECT_FALSE(middle.IsLive(0));
  EXPECT_FALSE(middle.IsLive(4095));
  EXPECT_FALSE(middle.IsLive(4096));
  EXPECT_TRUE(middle.IsLive(8192 + 70));
  EXPECT_EQ(after.dead_count(), 4U) << "a dead position counts once";
  EXPECT_EQ(after.Block((8192 + 70) / 64), ~(uint64_t{1} << 6));
}

TEST(LiveBitmap, LoadsAndCountsBlocksAcrossChunks) {
  const std::vector<uint64_t> dead = {4095, 4096, 4160};
  const LiveBitmap live = LiveBitmap(8192).WithCleared(dead);
  uint64_t words[3];
  EXPECT_TRUE(live.LoadBlocks(63, 3, words));
  EXPECT_EQ(words[0], ~uint64_t{0} >> 1);
  EXPECT_EQ(words[1], ~uint64_t{1});
  EXPECT_EQ(words[2], ~uint64_t{1});
  EXPECT_FALSE(live.LoadBlocks(66, 3, words));
  EXPECT_EQ(live.CountLive(63, 64), 63U);
  EXPECT_EQ(live.CountLive(63, 63), 63U) << "rows beyond the count are not looked at";
  EXPECT_EQ(live.CountLive(63, 65), 63U);
  EXPECT_EQ(live.CountLive(63, 130), 127U);
}

TEST(LiveBitmap, AgreesWithASetUnderRandomWrites) {
  constexpr uint64_t kBits = 100'000;
  std::mt19937_64 rng(5);
  std::set<uint64_t> dead;
  LiveBitmap live(kBits);
  for (int write = 0; write < 200; ++write) {
    std::vector<uint64_t> positions(rng() % 50);
    for (uint64_t& position : positions) position = rng() % kBits;
    live = live.WithCleared(positions);
    dead.insert(positions.begin(), positions.end());
  }
  EXPECT_EQ(live.dead_count(), dead.size());
  for (uint64_t i = 0; i < kBits; ++i) ASSERT_EQ(live.IsLive(i), !dead.contains(i)) << i;
}

}  // namespace
}  // namespace tessera::query
