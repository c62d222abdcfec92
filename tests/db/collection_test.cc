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
#include "tests/db/model.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::db {
namespace {

using testing::HasSubstr;

constexpr uint64_t kMemoryLimit = uint64_t{256} << 20;

base::CollectionSchema OneField(base::Metric metric, uint32_t dim = 12,
                                base::ElementType type = base::ElementType::kF32) {
  return {.name = "c", .vectors = {{.name = "", .dim = dim, .metric = metric, .type = type}}};
}

base::CollectionSchema TwoFields() {
  return {
      .name = "c",
      .vectors = {
          {.name = "image", .dim = 16, .metric = base::Metric::kCosine},
          {.name = "text", .dim = 8, .metric = base::Metric::kL2, .type = base::ElementType::kU8}}};
}

// Numbers, UUIDs, short and long strings.
base::PointId MakeId(uint64_t number) {
  switch (number % 5) {
    case 0:
      return base::PointId(std::string("id-") + std::to_string(number));
    case 1:
      return base::PointId(std::string("a-rather-long-identifier-number-") +
                           std::to_string(number));
    case 2: {
      base::Uuid uuid;
      for (int i = 0; i < 8; ++i) uuid.bytes[i] = static_cast<uint8_t>(number >> (8 * i));
      return base::PointId(uuid);
    }
    default:
      return base::PointId(number);
  }
}

class World {
  TempDir dir_;  // outlives the database

 public:
  World(const base::CollectionSchema& schema, uint64_t seed, bool background)
      : model(schema), maker(schema, seed), background_(background) {
    Open();
    const absl::Status created = database->CreateCollection(schema);
    EXPECT_TRUE(created.ok()) << created;
    Find();
  }

  void Open() {
    DatabaseOptions options;
    options.memory_limit = kMemoryLimit;
    options.threads = 2;
    options.background_absorb = background_;
    auto opened = Database::Open(dir_.path(), options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    database = *std::move(opened);
  }
  void Find() {
    auto found = database->GetCollection("c");
    ASSERT_TRUE(found.ok()) << found.status();
    collection = *std::move(found);
  }
  void Reopen() {
    collection.reset();
    ASSERT_TRUE(database->Close().ok());
    database.reset();
    Open();
    Find();
    ++reopen_count;
  }

  std::vector<Point> MakePoints(size_t count, uint64_t id_range) {
    std::set<uint64_t> numbers;
    while (numbers.size() < count) numbers.insert(maker.rng()() % id_range);
    std::vector<Point> points;
    for (const uint64_t number : numbers) points.push_back(maker.Make(MakeId(number)));
    std::shuffle(points.begin(), points.end(), maker.rng());
    return points;
  }
  void Upsert(std::vector<Point> points) {
    const size_t expected = model.points().size() + points.size();
    model.Upsert(points);
    const auto outcome = collection->Upsert(std::move(points), Ack::kMemory);
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_EQ(expected - outcome->replaced, model.points().size());
  }
  // Every second id is there.
  std::vector<base::PointId> SomeIds(size_t count) {
    std::vector<base::PointId> ids;
    for (size_t i = 0; i < count; ++i) ids.push_back(MakeId(maker.rng()() % 3000));
    return ids;
  }
  void Load(size_t count, uint64_t id_range) {
    // Ids may come twice within a load: the last one stays.
    std::vector<std::vector<Point>> batches;
    for (size_t done = 0; done < count; done += 100) batches.push_back(MakePoints(100, id_range));
    const size_t before = model.points().size();
    for (const auto& batch : batches) model.Upsert(batch);
    size_t next = 0;
    const auto loaded = collection->BulkLoad(
        [&](std::vector<Point>* batch) {
          if (next < batches.size()) *batch = batches[next++];
          return absl::OkStatus();
        },
        {});
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(loaded->rows, batches.size() * 100);
    EXPECT_EQ(before + loaded->rows - loaded->replaced, model.points().size());
    ++load_count;
  }
  void Check(const std::string& after) {
    ASSERT_EQ(Difference(*collection, model, maker), "") << "after " << after;
  }
  FieldStats Field(size_t i = 0) {
    const auto stats = collection->Stats();
    EXPECT_TRUE(stats.ok()) << stats.status();
    return stats->fields[i];
  }

  Model model;
  PointMaker maker;
  std::unique_ptr<Database> database;
  std::shared_ptr<Collection> collection;
  int reopen_count = 0;
  int load_count = 0;

 private:
  const bool background_;
};

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
