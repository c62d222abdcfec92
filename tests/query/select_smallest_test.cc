#include "query/select_smallest.h"

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"

#include "tests/support/seed.h"

namespace tessera::query {
namespace {

// What must hold for any keys without NaN.
void Check(const std::vector<float>& keys, size_t count, size_t slack) {
  std::vector<uint32_t> positions = {7, 7, 7};
  SelectSmallest(keys, count, slack, &positions);
  EXPECT_GE(positions.size(), std::min(count, keys.size()));
  EXPECT_LE(positions.size(), count + slack);
  EXPECT_TRUE(std::is_sorted(positions.begin(), positions.end()));
  EXPECT_EQ(std::adjacent_find(positions.begin(), positions.end()), positions.end());
  std::vector<bool> taken(keys.size());
  float largest = -std::numeric_limits<float>::infinity();
  for (const uint32_t position : positions) {
    ASSERT_LT(position, keys.size());
    taken[position] = true;
    largest = std::max(largest, keys[position]);
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    if (!taken[i]) {
      EXPECT_GE(keys[i], largest);
    }
  }
}

TEST(SelectSmallest, TakesTheSmallest) {
  std::mt19937_64 rng(TestSeed());
  std::normal_distribution<float> normal(100, 3);
  for (const size_t size : {0U, 1U, 2U, 15U, 16U, 17U, 100U, 700U}) {
    std::vector<float> keys(size);
    for (float& key : keys) key = normal(rng);
    for (const size_t count : {1U, 10U, 32U, 99U, 1000U}) {
      for (const size_t slack : {0U, 5U, 16U}) Check(keys, count, slack);
    }
  }
}

TEST(SelectSmallest, CopesWithEqualAndExtremeKeys) {
  std::mt19937_64 rng(TestSeed());
  std::vector<float> keys(300, 5.0F);
  Check(keys, 32, 16);
  for (float& key : keys) key = static_cast<float>(rng() % 3);
  Check(keys, 32, 16);
  keys[17] = std::numeric_limits<float>::max();
  keys[18] = std::numeric_limits<float>::lowest();
  Check(keys, 32, 16);
  keys[19] = std::numeric_limits<float>::infinity();
  keys[20] = -std::numeric_limits<float>::infinity();
  Check(keys, 32, 16);
  Check(keys, 299, 0);
  std::fill(keys.begin(), keys.end(), std::numeric_limits<float>::infinity());
  keys[3] = 1;
  Check(keys, 1, 0);
  Check(keys, 2, 0);
}

TEST(SelectSmallest, LeavesNanOut) {
  std::vector<float> keys(40, std::numeric_limits<float>::quiet_NaN());
  std::vector<uint32_t> positions;
  SelectSmallest(keys, 3, 0, &positions);
  EXPECT_TRUE(positions.empty());
  keys[5] = 2;
  keys[30] = 1;
  SelectSmallest(keys, 3, 0, &positions);
  EXPECT_EQ(positions, (std::vector<uint32_t>{5, 30}));
}

}  // namespace
}  // namespace tessera::query
