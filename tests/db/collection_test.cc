// The collection against the model: random writes, absorptions, loads and reopenings.
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

void RunRandomOperations(World& world, int steps) {
  int absorb_count = 0;
  for (int step = 0; step < steps; ++step) {
    SCOPED_TRACE(testing::Message() << "step " << step);
    std::string name;
    switch (step % 20 == 19 ? 11 : world.maker.rng()() % 11) {
      case 0:
      case 1:
      case 2:
      case 3:
        name = "upsert";
        world.Upsert(world.MakePoints(1 + world.maker.rng()() % 200, 3000));
        break;
      case 4:
      case 5: {
        name = "delete";
        const std::vector<base::PointId> ids = world.SomeIds(1 + world.maker.rng()() % 100);
        size_t there = 0;
        for (const base::PointId& id : std::set(ids.begin(), ids.end())) {
          there += world.model.points().erase(id);
        }
        const auto deleted = world.collection->Delete(ids, Ack::kMemory);
        ASSERT_TRUE(deleted.ok()) << deleted.status();
        EXPECT_EQ(*deleted, there);
        break;
      }
      case 6:
      case 7: {
        name = "set payload";
        const base::Value change(base::Value::Object{
            {"n", base::Value()}, {"new", base::Value(static_cast<int64_t>(step))}});
        std::vector<base::PointId> ids;
        for (const auto& [id, point] : world.model.points()) {
          if (world.maker.rng()() % 50 == 0) ids.push_back(id);
        }
        for (const base::PointId& id : ids) {
          base::Value& payload = world.model.points()[id].payload;
          base::Value::Object merged;
          if (payload.object() != nullptr) merged = *payload.object();
          merged.erase("n");
          merged.insert_or_assign("new", base::Value(static_cast<int64_t>(step)));
          payload = base::Value(merged);
        }
        const auto set = world.collection->SetPayload(ids, change, Ack::kWal);
        ASSERT_TRUE(set.ok()) << set.status();
        break;
      }
      case 8:
      case 9: {
        name = "absorb";
        const absl::Status status = world.collection->Absorb();
        ASSERT_TRUE(status.ok()) << status;
        EXPECT_EQ(world.Field().fresh_rows, 0U);
        absorb_count += world.Field().absorbed_rows > 0;
        break;
      }
      case 10:
        name = "reopen";
        world.Reopen();
        break;
      case 11:
        name = "bulk load";
        world.Load(100 + world.maker.rng()() % 1000, 4000);
        break;
    }
    if (testing::Test::HasFatalFailure()) return;
    world.Check(name);
    if (testing::Test::HasFatalFailure()) return;
  }
  EXPECT_GT(absorb_count, 0);
  EXPECT_GT(world.reopen_count, 0);
  EXPECT_GT(world.load_count, 0);
}

TEST(CollectionModel, RandomOperationsUnderL2) {
  World world(OneField(base::Metric::kL2), TestSeed(), false);
  RunRandomOperations(world, 80);
}

TEST(CollectionModel, RandomOperationsUnderInnerProduct) {
  World world(OneField(base::Metric::kInnerProduct, 7, base::ElementType::kF16), TestSeed(), false);
  RunRandomOperations(world, 60);
}

TEST(CollectionModel, RandomOperationsOnTwoNamedVectors) {
  World world(TwoFields(), TestSeed(), false);
  RunRandomOperations(world, 60);
}

TEST(CollectionModel, RandomOperationsWhileRowsAreAbsorbedInTheBackground) {
  World world(OneField(base::Metric::kCosine, 24), TestSeed(), true);
  for (int i = 0; i < 12; ++i) world.Upsert(world.MakePoints(1000, 20000));
  world.Check("upserts");
  RunRandomOperations(world, 60);
  // Enough to be absorbed without being asked.
  for (int i = 0; i < 10; ++i) world.Upsert(world.MakePoints(1000, 100000));
  for (int i = 0; i < 600 && world.Field().fresh_rows > 5000; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_LE(world.Field().fresh_rows, 5000U);
  world.Check("background absorption");
}

TEST(Collection, BadInputIsRefusedAndNothingIsApplied) {
  World world(OneField(base::Metric::kL2, 4), TestSeed(), false);
  world.Upsert(world.MakePoints(10, 100));
  const auto refuse = [&](std::vector<Point> points, const std::string& message) {
    const auto result = world.collection->Upsert(std::move(points), Ack::kWal);
    EXPECT_THAT(result, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
    world.Check(message);
  };
  const Point good = world.maker.Make(base::PointId(uint64_t{1000}));
  Point bad = good;
  bad.vectors[0].bytes.resize(12);
  refuse({good, bad}, "id 1000 is twice in the batch");
  bad.id = base::PointId(uint64_t{1001});
  refuse({good, bad}, "has 3 components, the collection has 4");
  bad.vectors[0].bytes.clear();
  refuse({good, bad}, "has 0 components, the collection has 4");
  bad.vectors[0].bytes.assign("\0\0\xc0\x7f\0\0\0\0\0\0\0\0\0\0\0\0", 16);
  refuse({good, bad}, "component 0 = nan, must be finite");
  bad = good;
  bad.id = base::PointId(uint64_t{1002});
  bad.vectors[0].field = "other";
  refuse({good, bad}, "there is no vector field \"other\"");
  bad = good;
  bad.id = base::PointId(uint64_t{1003});
  bad.payload = base::Value(base::Value::Object{{"x", base::Value(std::string(1 << 20, 'x'))}});
  refuse({good, bad}, "bytes, at most 1048576 are allowed");
  refuse({}, "the batch is empty");

  SearchParams params;
  params.limit = 10'001;
  EXPECT_THAT(world.collection->Search(std::vector<float>(4), params),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("limit is 10001")));
  params = {};
  EXPECT_THAT(world.collection->Search(std::vector<float>(5), params),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("5 components")));
  params.recall_target = 1.5;
  EXPECT_THAT(world.collection->Search(std::vector<float>(4), params),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("recall_target is 1.5")));
  const std::vector<base::PointId> ids = {base::PointId(uint64_t{77777})};
  EXPECT_THAT(world.collection->SetPayload(ids, base::Value(base::Value::Object{}), Ack::kWal),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("77777")));
}

TEST(Collection, FailedLoadLeavesEverythingAsItWas) {
  World world(OneField(base::Metric::kL2, 4), TestSeed(), false);
  world.Load(1000, 5000);
  world.Upsert(world.MakePoints(50, 5000));
  int batches = 0;
  const auto loaded = world.collection->BulkLoad(
      [&](std::vector<Point>* batch) -> absl::Status {
        if (++batches == 4) return absl::InvalidArgumentError("line 7 is no good");
        *batch = world.MakePoints(100, 5000);
        return absl::OkStatus();
      },
      {});
  EXPECT_THAT(loaded, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 7")));
  world.Check("failed load");
  world.Reopen();
  world.Check("reopen");
  world.Load(500, 5000);
  world.Check("load");
}

TEST(Collection, ALoadKeepsTheLastPointOfAnIdAlsoWithinABatch) {
  World world(OneField(base::Metric::kL2, 4), TestSeed(), false);
  world.Upsert(world.MakePoints(100, 200));
  std::vector<Point> twice = world.MakePoints(150, 200);
  for (Point& point : world.MakePoints(150, 200)) twice.push_back(std::move(point));
  const size_t before = world.model.points().size();
  world.model.Upsert(twice);
  bool asked = false;
  const auto loaded = world.collection->BulkLoad(
      [&](std::vector<Point>* batch) {
        if (!asked) *batch = twice;
        asked = true;
        return absl::OkStatus();
      },
      {});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->rows, 300U);
  EXPECT_EQ(before + 300 - loaded->replaced, world.model.points().size());
  world.Check("load");
}

TEST(Collection, WritesAreRefusedAndReadsGoOnDuringALoad) {
  World world(OneField(base::Metric::kL2, 4), TestSeed(), false);
  world.Upsert(world.MakePoints(100, 5000));
  bool asked = false;
  const std::vector<Point> more = world.MakePoints(100, 5000);
  const auto loaded = world.collection->BulkLoad(
      [&](std::vector<Point>* batch) {
        if (asked) return absl::OkStatus();
        asked = true;
        EXPECT_THAT(world.collection->Upsert(more, Ack::kWal),
                    StatusIs(absl::StatusCode::kUnavailable, HasSubstr("loaded in bulk")));
        EXPECT_EQ(Difference(*world.collection, world.model, world.maker), "");
        *batch = more;
        return absl::OkStatus();
      },
      {});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  world.model.Upsert(more);
  world.Check("load");
}

TEST(Collection, VersionsGrowWithEveryUpsertAlsoAcrossReopening) {
  World world(OneField(base::Metric::kL2, 4), TestSeed(), false);
  uint64_t last = 0;
  const std::vector<base::PointId> ids = {base::PointId(uint64_t{9})};
  for (int i = 0; i < 6; ++i) {
    world.Upsert({world.maker.Make(ids[0])});
    if (i % 3 == 1) {
      ASSERT_TRUE(world.collection->Absorb().ok());
    }
    const auto stored = world.collection->Get(ids, {});
    ASSERT_TRUE(stored.ok());
    ASSERT_EQ(stored->size(), 1U);
    EXPECT_GT((*stored)[0].version, last);
    last = (*stored)[0].version;
    if (i % 2 == 1) world.Reopen();
  }
}

TEST(Collection, ConcurrentWritersReadersAndAbsorptionAgree) {
  World world(OneField(base::Metric::kL2, 8), TestSeed(), true);
  world.Load(2000, 1'000'000);
  std::atomic<bool> done{false};
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  constexpr int kWriters = 2;
  std::vector<std::vector<Point>> written(kWriters);
  for (int writer = 0; writer < kWriters; ++writer) {
    threads.emplace_back([&, writer] {
      PointMaker maker(world.model.schema(), TestSeed() + 1 + static_cast<uint64_t>(writer));
      for (uint64_t i = 0; i < 300; ++i) {
        std::vector<Point> points;
        for (uint64_t j = 0; j < 10; ++j) {
          const uint64_t number = (i * 10 + j) % 1000;
          points.push_back(maker.Make(
              base::PointId(2'000'000 + static_cast<uint64_t>(writer) * 10'000 + number)));
        }
        if (!world.collection->Upsert(points, Ack::kMemory).ok()) ++failures;
        written[static_cast<size_t>(writer)].insert(written[static_cast<size_t>(writer)].end(),
                                                    points.begin(), points.end());
      }
    });
  }
  threads.emplace_back([&] {
    while (!done.load()) {
      if (!world.collection->Absorb().ok()) ++failures;
    }
  });
  threads.emplace_back([&] {
    PointMaker maker(world.model.schema(), TestSeed() + 9);
    while (!done.load()) {
      SearchParams params;
      params.limit = 20;
      params.with = {.payload = true, .vectors = true};
      const auto result = world.collection->Search(maker.Query(0), params);
      if (!result.ok() || result->hits.size() != 20) ++failures;
    }
  });
  for (int writer = 0; writer < kWriters; ++writer) threads[static_cast<size_t>(writer)].join();
  done.store(true);
  for (size_t i = kWriters; i < threads.size(); ++i) threads[i].join();
  EXPECT_EQ(failures.load(), 0);
  for (const auto& points : written) world.model.Upsert(points);
  world.Check("threads");
  world.Reopen();
  world.Check("reopen");
}

TEST(Collection, BigCollectionIsRebuiltAsItGrowsAndShrinks) {
  World world(OneField(base::Metric::kL2, 6), TestSeed(), false);
  uint64_t lists = 0;
  for (int i = 0; i < 5; ++i) {
    world.Upsert(world.MakePoints(1500, 1'000'000));
    ASSERT_TRUE(world.collection->Absorb().ok());
    EXPECT_GE(world.Field().lists, lists);
    lists = world.Field().lists;
  }
  EXPECT_GT(lists, 15U);
  std::vector<base::PointId> ids;
  for (const auto& [id, point] : world.model.points()) {
    if (ids.size() < 5000) ids.push_back(id);
  }
  for (const base::PointId& id : ids) world.model.points().erase(id);
  ASSERT_TRUE(world.collection->Delete(ids, Ack::kMemory).ok());
  ASSERT_TRUE(world.collection->Absorb().ok());
  EXPECT_LT(world.Field().lists, lists * 2 / 3);
  world.Check("shrinking");
  ids.clear();
  for (const auto& [id, point] : world.model.points()) ids.push_back(id);
  world.model.points().clear();
  ASSERT_TRUE(world.collection->Delete(ids, Ack::kMemory).ok());
  world.Check("emptying");
  ASSERT_TRUE(world.collection->Absorb().ok());
  world.Reopen();
  world.Check("reopen");
  world.Upsert(world.MakePoints(10, 1'000'000));
  world.Check("upsert");
}

}  // namespace
}  // namespace tessera::db
