// What searches of a collection find and return.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "db/database.h"
#include "tests/db/world.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::db {
namespace {

using testing::HasSubstr;

TEST(CollectionSearch, RecallHoldsAtTheDefaults) {
  for (const base::Metric metric :
       {base::Metric::kL2, base::Metric::kCosine, base::Metric::kInnerProduct}) {
    SCOPED_TRACE(base::ToString(metric));
    World world(OneField(metric, 32), TestSeed(), false);
    world.Load(8000, 1'000'000);
    ASSERT_GT(world.Field().lists, 10U);
    SearchParams params;
    EXPECT_GE(MeasureRecall(*world.collection, world.model, world.maker, params, 100), 0.95);
    // The same through absorption of rows one batch after another.
    for (int i = 0; i < 4; ++i) {
      world.Upsert(world.MakePoints(800, 1'000'000));
      ASSERT_TRUE(world.collection->Absorb().ok());
    }
    EXPECT_EQ(world.Field().fresh_rows, 0U);
    EXPECT_GE(MeasureRecall(*world.collection, world.model, world.maker, params, 100), 0.95);
    params.recall_target = 0.99;
    EXPECT_GE(MeasureRecall(*world.collection, world.model, world.maker, params, 100), 0.98);
    params.recall_target = 0;
    params.nprobe = static_cast<uint32_t>(world.Field().lists);
    params.oversampling = 20;
    EXPECT_GE(MeasureRecall(*world.collection, world.model, world.maker, params, 200), 0.995);
  }
}

// Nothing to cluster, and too few rows for a sample of them to tell how wide to search.
TEST(CollectionSearch, FewRowsReachTheTarget) {
  constexpr size_t kDim = 64;
  constexpr size_t kQueries = 100;
  std::normal_distribution<float> normal;
  double recall = 0;
  constexpr size_t kSizes[] = {100, 150, 200, 300, 600, 1200};
  for (const size_t rows : kSizes) {
    World world(OneField(base::Metric::kL2, kDim), TestSeed(), false);
    const auto draw = [&] {
      std::string bytes(kDim * sizeof(float), '\0');
      for (size_t i = 0; i < kDim; ++i) {
        const float value = normal(world.maker.rng());
        std::memcpy(&bytes[i * sizeof(float)], &value, sizeof(value));
      }
      return bytes;
    };
    std::vector<Point> points = world.MakePoints(rows, 1'000'000);
    for (Point& point : points) point.vectors[0].bytes = draw();
    world.Upsert(points);
    ASSERT_TRUE(world.collection->Absorb().ok());
    for (size_t i = 0; i < kQueries; ++i) {
      std::vector<float> query(kDim);
      std::memcpy(query.data(), draw().data(), kDim * sizeof(float));
      const auto result = world.collection->Search(query, {});
      ASSERT_TRUE(result.ok()) << result.status();
      const double last = world.model.Search(0, query)[9].distance;
      for (const Hit& hit : result->hits) recall += hit.distance <= last * (1 + 1e-5) ? 0.1 : 0;
    }
  }
  EXPECT_GE(recall / (kQueries * std::size(kSizes)), 0.97);
}

// Points whose vectors are moved by `shift` in every dimension and drawn together.
std::vector<Point> MovedPoints(World& world, size_t count, float shift) {
  std::vector<Point> points = world.MakePoints(count, 1'000'000);
  for (Point& point : points) {
    std::string& bytes = point.vectors[0].bytes;
    for (size_t at = 0; at < bytes.size(); at += sizeof(float)) {
      float value;
      std::memcpy(&value, &bytes[at], sizeof(value));
      value = 0.1F * value + shift;
      std::memcpy(&bytes[at], &value, sizeof(value));
    }
  }
  return points;
}

TEST(CollectionSearch, RowsUnlikeTheOthersAreFoundOnceAbsorbed) {
  World world(OneField(base::Metric::kL2, 32), TestSeed(), false);
  world.Load(8000, 1'000'000'000);
  const uint64_t lists = world.Field().lists;
  // More of the same kind go into the lists there are ...
  world.Upsert(world.MakePoints(1200, 1'000'000'000));
  ASSERT_TRUE(world.collection->Absorb().ok());
  EXPECT_EQ(world.Field().lists, lists);
  // ... others get lists of their own: the index is built anew.
  world.Upsert(MovedPoints(world, 1200, 10));
  ASSERT_TRUE(world.collection->Absorb().ok());
  ASSERT_EQ(world.Field().fresh_rows, 0U);
  EXPECT_GT(world.Field().lists, lists);
  size_t found = 0;
  constexpr size_t kQueries = 50;
  for (const Point& point : MovedPoints(world, kQueries, 10)) {
    std::vector<float> query(32);
    std::memcpy(query.data(), point.vectors[0].bytes.data(), 128);
    const auto result = world.collection->Search(query, {});
    ASSERT_TRUE(result.ok()) << result.status();
    const double last = world.model.Search(0, query)[9].distance;
    for (const Hit& hit : result->hits) found += hit.distance <= last * (1 + 1e-5) ? 1 : 0;
  }
  EXPECT_GE(static_cast<double>(found) / (10 * kQueries), 0.85);
}

// One dimension hides what the others say: codes of a byte or less tell such rows nothing apart.
TEST(CollectionSearch, WhatCodesCannotReachIsComparedExactly) {
  World world(OneField(base::Metric::kL2, 16), TestSeed(), false);
  std::vector<Point> points = world.MakePoints(3000, 1'000'000);
  for (Point& point : points) {
    const float far = 1e4F * static_cast<float>(world.maker.rng()() % 7);
    std::memcpy(point.vectors[0].bytes.data(), &far, sizeof(far));
  }
  world.Upsert(points);
  ASSERT_TRUE(world.collection->Absorb().ok());
  size_t found = 0;
  constexpr size_t kQueries = 50;
  for (size_t i = 0; i < kQueries; ++i) {
    std::vector<float> query(16);
    std::memcpy(query.data(), points[i].vectors[0].bytes.data(), 64);
    const auto result = world.collection->Search(query, {});
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_GE(result->stats.estimated_recall, 0.949);
    const double last = world.model.Search(0, query)[9].distance;
    for (const Hit& hit : result->hits) found += hit.distance <= last * (1 + 1e-4) ? 1 : 0;
  }
  EXPECT_GE(static_cast<double>(found) / (10 * kQueries), 0.95);
}

TEST(CollectionSearch, WritesAreSeenAtOnce) {
  World world(OneField(base::Metric::kL2, 8), TestSeed(), false);
  world.Load(3000, 1'000'000);
  for (int i = 0; i < 20; ++i) {
    Point point = world.maker.Make(base::PointId(uint64_t{5'000'000} + i));
    std::vector<float> query(8);
    std::memcpy(query.data(), point.vectors[0].bytes.data(), 32);
    const base::PointId id = point.id;
    world.Upsert({std::move(point)});
    SearchParams params;
    params.limit = 1;
    auto result = world.collection->Search(query, params);
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_EQ(result->hits.size(), 1U);
    EXPECT_EQ(result->hits[0].id, id);
    EXPECT_EQ(result->hits[0].distance, 0);
    ASSERT_TRUE(world.collection->Delete({{id}}, Ack::kMemory).ok());
    result = world.collection->Search(query, params);
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_EQ(result->hits.size(), 1U);
    EXPECT_NE(result->hits[0].id, id);
  }
}

TEST(CollectionSearch, HitsCarryPayloadAndVectorsOfFreshAndAbsorbedPoints) {
  World world(TwoFields(), TestSeed(), false);
  world.Load(1000, 1'000'000);
  world.Upsert(world.MakePoints(500, 1'000'000));
  SearchParams params;
  params.field = "text";
  params.limit = 200;
  params.with = {.payload = true, .vectors = true};
  const auto result = world.collection->Search(world.maker.Query(1), params);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->hits.size(), 200U);
  for (const Hit& hit : result->hits) {
    const ModelPoint& expected = world.model.points().at(hit.id);
    EXPECT_EQ(hit.payload, expected.payload);
    ASSERT_EQ(hit.vectors.size(), 2U);
    EXPECT_EQ(hit.vectors[0].bytes, expected.vectors[0]);
    EXPECT_EQ(hit.vectors[1].bytes, expected.vectors[1]);
    EXPECT_EQ(hit.score, -hit.distance);
  }
}

TEST(CollectionSearch, ZeroVectorUnderCosineScoresZero) {
  World world(OneField(base::Metric::kCosine, 4), TestSeed(), false);
  Point zero{
      .id = base::PointId(uint64_t{1}), .vectors = {{"", std::string(16, '\0')}}, .payload = {}};
  world.Upsert({zero});
  world.Load(500, 1'000'000);
  SearchParams params;
  params.limit = 10'000;
  const auto result = world.collection->Search(world.maker.Query(0), params);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->hits.size(), world.model.points().size());
  bool found = false;
  for (const Hit& hit : result->hits) {
    if (hit.id != zero.id) continue;
    found = true;
    EXPECT_EQ(hit.score, 0);
  }
  EXPECT_TRUE(found);
  const auto all = world.collection->Search(std::vector<float>(4, 0.0F), params);
  ASSERT_TRUE(all.ok()) << all.status();
  for (const Hit& hit : all->hits) EXPECT_EQ(hit.score, 0);
}

TEST(CollectionSearch, ScoreThresholdCutsTheResult) {
  World world(OneField(base::Metric::kL2), TestSeed(), false);
  world.Load(2000, 1'000'000);
  const std::vector<float> query = world.maker.Query(0);
  SearchParams params;
  params.limit = 50;
  params.exact = true;
  const auto all = world.collection->Search(query, params);
  ASSERT_TRUE(all.ok());
  params.score_threshold = all->hits[19].score;
  const auto some = world.collection->Search(query, params);
  ASSERT_TRUE(some.ok());
  EXPECT_EQ(some->hits.size(), 20U);
}

}  // namespace
}  // namespace tessera::db
