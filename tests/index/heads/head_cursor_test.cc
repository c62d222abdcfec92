#include "index/heads/head_cursor.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "index/heads/head_index.h"
#include "tests/index/codecs/codec_fixture.h"
#include "tests/support/seed.h"

namespace tessera::index {
namespace {

struct Shape {
  size_t heads;
  size_t dim;
  bool tier;
};

class HeadCursorTest : public testing::TestWithParam<Shape> {
 protected:
  HeadCursorTest() {
    const Shape& shape = GetParam();
    std::vector<float> heads = Gaussian(rng_, shape.heads * shape.dim, 0.2F);
    const std::vector<float> means = Gaussian(rng_, 20 * shape.dim);
    for (size_t i = 0; i < heads.size(); ++i) {
      heads[i] += means[i / shape.dim % 20 * shape.dim + i % shape.dim];
    }
    index_ = HeadIndex::Build(heads, shape.dim, {});
    EXPECT_EQ(index_->has_tier(), shape.tier);
  }

  std::vector<float> DrawQuery() {
    std::vector<float> query(GetParam().dim);
    index_->DecodeHead(static_cast<uint32_t>(rng_() % index_->head_count()), query.data());
    const std::vector<float> noise = Gaussian(rng_, query.size(), 0.1F);
    for (size_t j = 0; j < query.size(); ++j) query[j] += noise[j];
    return query;
  }

  // All lists that are eligible, in the order in which the cursor returns them.
  std::vector<HeadHit> Walk(const std::vector<size_t>& steps, HeadCursor* cursor) {
    std::vector<HeadHit> all;
    std::vector<HeadHit> some;
    for (size_t i = 0; cursor->left() > 0; ++i) {
      const size_t step = steps[std::min(i, steps.size() - 1)];
      const size_t left = cursor->left();
      cursor->Next(step, &some);
      EXPECT_EQ(some.size(), std::min(step, left));
      EXPECT_EQ(cursor->left(), left - some.size());
      if (some.empty()) break;
      all.insert(all.end(), some.begin(), some.end());
    }
    cursor->Next(5, &some);
    EXPECT_TRUE(some.empty());
    return all;
  }

  std::mt19937_64 rng_{TestSeed()};
  std::unique_ptr<HeadIndex> index_;
  HeadCursor cursor_;
};

TEST_P(HeadCursorTest, GoesOnToTheLastListAndNeverRepeatsOne) {
  const size_t n = index_->head_count();
  for (int i = 0; i < 5; ++i) {
    cursor_.Begin(*index_, DrawQuery().data());
    EXPECT_EQ(cursor_.left(), n);
    const std::vector<HeadHit> all = Walk({1, 7, 40, 40, 300}, &cursor_);
    std::set<uint32_t> lists;
    for (const HeadHit& hit : all) lists.insert(hit.list);
    EXPECT_EQ(all.size(), n);
    EXPECT_EQ(lists.size(), n);
  }
}

TEST_P(HeadCursorTest, SmallStepsFindNearlyWhatOneLargeStepFinds) {
  size_t common = 0;
  constexpr size_t kWanted = 200;
  constexpr int kQueries = 10;
  for (int i = 0; i < kQueries; ++i) {
    const std::vector<float> query = DrawQuery();
    std::vector<HeadHit> at_once;
    index_->Nearest(query.data(), kWanted, &cursor_, &at_once);
    std::set<uint32_t> lists;
    for (const HeadHit& hit : at_once) lists.insert(hit.list);
    cursor_.Begin(*index_, query.data());
    std::vector<HeadHit> some;
    float last = 0;
    for (size_t found = 0; found < kWanted; found += some.size()) {
      cursor_.Next(25, &some);
      for (const HeadHit& hit : some) common += lists.count(hit.list);
      EXPECT_TRUE(std::is_sorted(some.begin(), some.end(), [](const auto& a, const auto& b) {
        return a.distance2 < b.distance2 * (1 - 1e-5F);
      }));
      EXPECT_GE(some.back().distance2, 0.8F * last);
      last = some.back().distance2;
    }
  }
  EXPECT_GE(common, kQueries * kWanted * 95 / 100);
}

TEST_P(HeadCursorTest, OnlyEligibleListsCome) {
  const size_t n = index_->head_count();
  for (const size_t one_in : {2, 50, 400}) {
    std::vector<uint64_t> eligible((n + 63) / 64);
    size_t count = 0;
    for (size_t list = 0; list < n; ++list) {
      if (rng_() % one_in != 0) continue;
      eligible[list / 64] |= uint64_t{1} << (list % 64);
      ++count;
    }
    const std::vector<float> query = DrawQuery();
    cursor_.Begin(*index_, query.data());
    std::vector<HeadHit> every;
    cursor_.Next(n, &every);
    cursor_.Begin(*index_, query.data(), eligible);
    EXPECT_EQ(cursor_.left(), count);
    const std::vector<HeadHit> got = Walk({10, 64}, &cursor_);
    EXPECT_EQ(got.size(), count);
    std::set<uint32_t> lists;
    for (const HeadHit& hit : got) {
      EXPECT_TRUE(eligible[hit.list / 64] >> (hit.list % 64) & 1);
      lists.insert(hit.list);
    }
    EXPECT_EQ(lists.size(), count);
    // The nearest eligible list of all is among the first few.
    const auto nearest = std::find_if(every.begin(), every.end(), [&](const HeadHit& hit) {
      return (eligible[hit.list / 64] >> (hit.list % 64) & 1) != 0;
    });
    if (nearest == every.end()) continue;
    EXPECT_LE(got.front().distance2, nearest->distance2 * 1.2F);
  }
  const std::vector<uint64_t> none((n + 63) / 64);
  cursor_.Begin(*index_, DrawQuery().data(), none);
  EXPECT_EQ(cursor_.left(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Shapes, HeadCursorTest,
                         testing::Values(Shape{600, 17, false}, Shape{2304, 40, false},
                                         Shape{12000, 100, true}),
                         [](const auto& param) {
                           return "heads" + std::to_string(param.param.heads);
                         });

}  // namespace
}  // namespace tessera::index
