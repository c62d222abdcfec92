#include "version/columns/match_cache.h"

#include <memory>

#include "gtest/gtest.h"

namespace tessera::version {
namespace {

std::shared_ptr<const uint64_t> Words() {
  return std::make_shared<const uint64_t>(5);
}

TEST(MatchCache, KeepsWhatWasUsedLastWithinItsBytes) {
  base::MemoryBudget budget(1 << 20);
  MatchCache cache(budget, 64 << 10);
  const auto kept = Words();
  cache.KeepWords({.serial = 1, .filter = "a"}, kept, 4096);
  for (uint64_t i = 2; i < 40; ++i) {
    EXPECT_EQ(cache.FindWords({.serial = 1, .filter = "a"}), kept);
    cache.KeepWords({.serial = i, .filter = "a"}, Words(), 4096);
    EXPECT_LE(cache.used_bytes(), uint64_t{64 << 10});
  }
  EXPECT_EQ(cache.FindWords({.serial = 2, .filter = "a"}), nullptr);
  EXPECT_EQ(cache.FindWords({.serial = 1, .filter = "b"}), nullptr);
  EXPECT_NE(cache.FindWords({.serial = 39, .filter = "a"}), nullptr);
}

TEST(MatchCache, WhatHasNoRoomIsNotKept) {
  base::MemoryBudget budget(8 << 10);
  MatchCache cache(budget, 64 << 10);
  cache.KeepWords({.serial = 1, .filter = "a"}, Words(), 9000);  // over an eighth of all
  EXPECT_EQ(cache.FindWords({.serial = 1, .filter = "a"}), nullptr);
  cache.KeepWords({.serial = 1, .filter = "a"}, Words(), 6000);
  EXPECT_NE(cache.FindWords({.serial = 1, .filter = "a"}), nullptr);
  cache.KeepWords({.serial = 2, .filter = "a"}, Words(), 6000);  // the budget has no room
  EXPECT_EQ(cache.FindWords({.serial = 2, .filter = "a"}), nullptr);
}

}  // namespace
}  // namespace tessera::version
