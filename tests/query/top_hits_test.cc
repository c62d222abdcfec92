#include "query/top_hits.h"

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace tessera::query {
namespace {

TEST(TopHits, KeepsTheBestWithTiesToTheSmallerId) {
  std::mt19937_64 rng(3);
  for (const size_t limit : {1U, 2U, 10U, 1000U, 5000U}) {
    std::vector<Hit> all;
    for (uint64_t i = 0; i < 3000; ++i) {
      all.push_back({.dissimilarity = static_cast<float>(rng() % 100),
                     .id = HitId::Number(i * 7919 % 3001),
                     .row = {i},
                     .version = i});
    }
    TopHits top;
    top.Reset(limit);
    for (const Hit& hit : all) top.Push(hit);
    std::sort(all.begin(), all.end());
    all.resize(std::min(limit, all.size()));
    if (limit <= 3000) {
      EXPECT_EQ(top.threshold(), all.back().dissimilarity);
    } else {
      EXPECT_EQ(top.threshold(), std::numeric_limits<float>::infinity());
    }
    std::vector<Hit> got;
    top.TakeSorted(&got);
    ASSERT_EQ(got.size(), all.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(got[i].id == all[i].id) << i;
    EXPECT_EQ(top.size(), 0U);
  }
}

TEST(KthSmallest, FollowsTheStream) {
  std::mt19937_64 rng(4);
  for (const size_t k : {1U, 3U, 40U}) {
    KthSmallest kth;
    kth.Reset(k);
    std::vector<float> seen;
    for (int i = 0; i < 500; ++i) {
      const float number = static_cast<float>(rng() % 1000);
      kth.Push(number);
      seen.push_back(number);
      std::sort(seen.begin(), seen.end());
      ASSERT_EQ(kth.value(),
                seen.size() < k ? std::numeric_limits<float>::infinity() : seen[k - 1]);
    }
  }
}

}  // namespace
}  // namespace tessera::query
