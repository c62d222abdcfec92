// The model that judges the answers of a soak, and the control group around its server.
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "bench/soak/memory_cgroup.h"
#include "bench/soak/soak_model.h"

namespace tessera::bench {
namespace {

constexpr uint32_t kDim = 20;

class SoakModelTest : public testing::Test {
 protected:
  std::vector<float> Vector(uint64_t id, uint32_t generation) const {
    std::vector<float> vector(kDim);
    model_.Vector(id, generation, vector);
    return vector;
  }
  // Whether an answer may show the id with the vector of that generation.
  bool MayShow(uint64_t id, uint32_t generation, uint64_t asked, uint64_t answered) const {
    return model_.MayShow(id, query_, SoakDistance(query_, Vector(id, generation)), asked,
                          answered);
  }
  void Write(uint64_t id, bool upsert) {
    model_.Send(id, upsert);
    model_.Acknowledge(id);
  }

  SoakModel model_{100, kDim, 1};
  const std::vector<float> query_ = std::vector<float>(kDim, 0.5F);
};

TEST_F(SoakModelTest, VectorsDifferByIdAndGenerationAndComeAgain) {
  EXPECT_EQ(Vector(3, 1), Vector(3, 1));
  EXPECT_NE(Vector(3, 1), Vector(3, 2));
  EXPECT_NE(Vector(3, 1), Vector(4, 1));
}

TEST_F(SoakModelTest, WhatWasNeverWrittenOrIsDeletedMayNotBeShown) {
  EXPECT_FALSE(MayShow(7, 1, 0, model_.Tick()));
  EXPECT_FALSE(MayShow(100, 1, 0, model_.Tick()));  // no such id
  Write(7, true);
  EXPECT_TRUE(MayShow(7, 1, model_.Tick(), model_.Tick()));
  EXPECT_FALSE(MayShow(7, 2, model_.Tick(), model_.Tick()));
  const uint64_t before = model_.Tick();
  Write(7, false);
  EXPECT_TRUE(MayShow(7, 1, before, model_.Tick()));  // it may have been answered just before
  EXPECT_FALSE(MayShow(7, 1, model_.Tick(), model_.Tick()));
  EXPECT_EQ(model_.Current(7), 0U);
}

TEST_F(SoakModelTest, AWriteUnderWayMayShowOrNot) {
  Write(7, true);
  const uint64_t before = model_.Tick();
  EXPECT_EQ(model_.Send(7, true), 2U);
  const uint64_t now = model_.Tick();
  EXPECT_FALSE(MayShow(7, 2, 0, before));
  EXPECT_TRUE(MayShow(7, 1, now, now));
  EXPECT_TRUE(MayShow(7, 2, now, now));
  model_.Acknowledge(7);
  const uint64_t after = model_.Tick();
  EXPECT_TRUE(MayShow(7, 1, now, after));
  EXPECT_FALSE(MayShow(7, 1, after, after));
  EXPECT_TRUE(MayShow(7, 2, after, after));
}

TEST_F(SoakModelTest, AnIdThatIsWrittenTooOftenDuringASearchIsNotJudged) {
  const uint64_t before = model_.Tick();
  for (int i = 0; i < 10; ++i) Write(7, true);
  EXPECT_TRUE(MayShow(7, 2, before, model_.Tick()));
  EXPECT_FALSE(MayShow(7, 2, model_.Tick(), model_.Tick()));
}

TEST_F(SoakModelTest, FindsTheNearestOfWhatIsThere) {
  for (uint64_t id = 0; id < 50; ++id) Write(id, true);
  Write(9, true);
  Write(10, false);
  EXPECT_EQ(model_.live_count(), 49U);
  const auto nearest = model_.Nearest(Vector(9, 2), 49);
  ASSERT_EQ(nearest.size(), 1U);
  ASSERT_EQ(nearest[0].size(), 49U);
  EXPECT_EQ(nearest[0][0].id, 9U);
  EXPECT_EQ(nearest[0][0].distance, 0);
  for (size_t i = 1; i < 49; ++i) {
    EXPECT_LE(nearest[0][i - 1].distance, nearest[0][i].distance);
    EXPECT_NE(nearest[0][i].id, 10U);
  }
}

TEST(MemoryCgroup, HasTheLimitAndGoesAway) {
  std::string procs;
  {
    const MemoryCgroup cgroup(uint64_t{64} << 20);
    EXPECT_EQ(cgroup.kills(), 0U);
    if (!cgroup.exists()) GTEST_SKIP() << "no control group can be made here";
    procs = cgroup.procs_path();
    EXPECT_TRUE(std::ifstream(procs).good());
  }
  EXPECT_FALSE(std::ifstream(procs).good());
}

}  // namespace
}  // namespace tessera::bench
