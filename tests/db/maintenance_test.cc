// Work that goes on by itself, and what is left when it fails.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/status_details.h"
#include "db/database.h"
#include "tests/db/model.h"
#include "tests/support/fault_fs.h"
#include "tests/support/status_matchers.h"

namespace tessera::db {
namespace {

using testing::HasSubstr;

DatabaseOptions Options(FaultFs& fs, bool background) {
  DatabaseOptions options;
  options.memory_limit = kMemoryLimitFloor;
  options.threads = 1;
  options.background_absorb = background;
  options.tend_every = absl::Milliseconds(20);
  options.fs = &fs;
  return options;
}

base::CollectionSchema Schema(const std::string& name, uint32_t dim = 4) {
  return {.name = name, .vectors = {{.name = "", .dim = dim, .metric = base::Metric::kL2}}};
}

std::vector<Point> MakePoints(PointMaker& maker, uint64_t first, uint64_t count) {
  std::vector<Point> points;
  for (uint64_t i = first; i < first + count; ++i) points.push_back(maker.Make(base::PointId(i)));
  return points;
}

std::vector<base::PointId> MakeIds(uint64_t first, uint64_t count) {
  std::vector<base::PointId> ids;
  for (uint64_t i = first; i < first + count; ++i) ids.emplace_back(i);
  return ids;
}

PointSource Once(const std::vector<Point>& points) {
  return [points, given = false](std::vector<Point>* batch) mutable {
    if (!given) *batch = points;
    given = true;
    return absl::OkStatus();
  };
}

// The row store has files of its own, which come and go when it likes.
std::vector<std::string> ExtentFiles(FaultFs& fs) {
  std::vector<std::string> files = fs.Files();
  std::erase_if(files, [](const std::string& path) { return path.find("/extents/") == path.npos; });
  return files;
}

size_t ExtentBytes(FaultFs& fs) {
  size_t bytes = 0;
  for (const std::string& file : fs.Files()) {
    if (file.find("/extents/") != std::string::npos) bytes += fs.FileSize(file).value_or(0);
  }
  return bytes;
}

FieldStats Stats(Collection& collection) {
  const auto stats = collection.Stats();
  EXPECT_TRUE(stats.ok()) << stats.status();
  return stats->fields[0];
}

// What must come by itself. Nothing waits as long as this but a failure.
bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 12'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

struct World {
  World(FaultFs& file_system, bool background, uint32_t dim = 4)
      : fs(file_system),
        options(Options(fs, background)),
        schema(Schema("a", dim)),
        maker(schema, 1),
        model(schema) {
    Open();
    EXPECT_THAT(database->CreateCollection(schema), IsOk());
    Find();
  }
  void Open() {
    auto opened = Database::Open("data", options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    database = *std::move(opened);
  }
  void Find() {
    auto found = database->GetCollection("a");
    ASSERT_TRUE(found.ok()) << found.status();
    collection = *std::move(found);
  }
  void Reopen() {
    collection.reset();
    database.reset();
    Open();
    Find();
  }
  void Upsert(uint64_t first, uint64_t count) {
    std::vector<Point> points = MakePoints(maker, first, count);
    model.Upsert(points);
    ASSERT_THAT(collection->Upsert(std::move(points), Ack::kMemory), IsOk());
  }
  void Delete(uint64_t first, uint64_t count) {
    for (const base::PointId& id : MakeIds(first, count)) model.points().erase(id);
    ASSERT_THAT(collection->Delete(MakeIds(first, count), Ack::kMemory), IsOk());
  }
  std::string Wrong() { return Difference(*collection, model, maker); }

  FaultFs& fs;
  DatabaseOptions options;
  base::CollectionSchema schema;
  PointMaker maker;
  Model model;
  std::unique_ptr<Database> database;
  std::shared_ptr<Collection> collection;
};

TEST(Maintenance, RowsWrittenDuringAnAbsorptionAreAbsorbedByThemselves) {
  FaultFs fs;
  World world(fs, /*background=*/true);
  for (uint64_t i = 0; i < 12; ++i) world.Upsert(i * 2000, 2000);
  EXPECT_TRUE(Eventually([&] { return Stats(*world.collection).fresh_rows < 4096; }))
      << Stats(*world.collection).fresh_rows << " of 24000 rows stay fresh";
  EXPECT_EQ(world.Wrong(), "");
}

TEST(Maintenance, FreshRowsThatAnOpenFindsAreAbsorbed) {
  FaultFs fs;
  World world(fs, /*background=*/false);
  world.Upsert(0, 6000);
  world.options.background_absorb = true;
  world.Reopen();
  EXPECT_TRUE(Eventually([&] { return Stats(*world.collection).fresh_rows == 0; }));
  EXPECT_EQ(world.Wrong(), "");
}

TEST(Maintenance, DeletesAloneHaveTheIndexBuiltAnew) {
  FaultFs fs;
  World world(fs, /*background=*/true);
  std::vector<Point> points = MakePoints(world.maker, 0, 8000);
  world.model.Upsert(points);
  ASSERT_THAT(world.collection->BulkLoad(Once(points), {}), IsOk());
  const size_t loaded_bytes = ExtentBytes(fs);
  const uint64_t lists = Stats(*world.collection).lists;
  world.Delete(100, 7900);
  EXPECT_TRUE(Eventually([&] { return Stats(*world.collection).lists < lists; }));
  EXPECT_TRUE(Eventually([&] { return ExtentBytes(fs) < loaded_bytes / 4; }));
  EXPECT_EQ(world.Wrong(), "");
}

TEST(Maintenance, ACollectionWithoutRowsHasNoExtents) {
  FaultFs fs;
  World world(fs, /*background=*/true);
  std::vector<Point> points = MakePoints(world.maker, 0, 3000);
  world.model.Upsert(points);
  ASSERT_THAT(world.collection->BulkLoad(Once(points), {}), IsOk());
  EXPECT_GT(ExtentBytes(fs), 0U);
  world.Delete(0, 3000);
  EXPECT_TRUE(Eventually([&] { return ExtentBytes(fs) == 0; }));
  EXPECT_EQ(world.Wrong(), "");
  world.Reopen();
  EXPECT_EQ(world.Wrong(), "");
  world.Upsert(0, 100);
  ASSERT_THAT(world.collection->Absorb(), IsOk());
  EXPECT_EQ(world.Wrong(), "");
}

TEST(Maintenance, TheCalibrationIsMeasuredAgainWhenManyRowsDied) {
  FaultFs fs;
  World world(fs, /*background=*/false);
  std::vector<Point> points = MakePoints(world.maker, 0, 4000);
  world.model.Upsert(points);
  ASSERT_THAT(world.collection->BulkLoad(Once(points), {}), IsOk());
  const uint64_t lists = Stats(*world.collection).lists;
  std::vector<std::string> before = ExtentFiles(fs);
  world.Delete(0, 100);
  ASSERT_THAT(world.collection->Absorb(), IsOk());
  EXPECT_EQ(ExtentFiles(fs), before) << "too few died";
  world.Delete(100, 300);
  world.Upsert(5000, 10);
  world.Delete(5000, 10);
  ASSERT_THAT(world.collection->Absorb(), IsOk());
  ASSERT_THAT(world.collection->Absorb(), IsOk());
  EXPECT_NE(ExtentFiles(fs), before);
  EXPECT_EQ(Stats(*world.collection).lists, lists) << "only the calibration is new";
  EXPECT_EQ(world.Wrong(), "");
  before = ExtentFiles(fs);
  ASSERT_THAT(world.collection->Absorb(), IsOk());
  EXPECT_EQ(ExtentFiles(fs), before) << "once is enough";
  world.Reopen();
  EXPECT_EQ(world.Wrong(), "");
}

TEST(Maintenance, AFailedAbsorptionIsTriedAgain) {
  FaultFs fs;
  World world(fs, /*background=*/true);
  fs.AddRule({.op = FaultOp::kAppend,
              .path_part = "extents",
              .kind = FaultKind::kNoSpace,
              .skip = 1,
              .count = 1});
  world.Upsert(0, 6000);
  EXPECT_TRUE(Eventually([&] { return Stats(*world.collection).fresh_rows == 0; }));
  EXPECT_EQ(world.Wrong(), "");
}

TEST(Maintenance, AFailedAbsorptionLeavesNoExtents) {
  FaultFs fs;
  World world(fs, /*background=*/false);
  world.Upsert(0, 3000);
  const std::vector<std::string> before = ExtentFiles(fs);
  // The files of the build are finished one after the other; the calibration's comes last.
  int failures = 0;
  for (int skip = 0; skip < 20; ++skip) {
    fs.AddRule({.op = FaultOp::kSync, .path_part = "extents", .skip = skip, .count = 1});
    const absl::Status absorbed = world.collection->Absorb();
    fs.ClearRules();
    if (absorbed.ok()) break;
    ++failures;
    EXPECT_EQ(ExtentFiles(fs), before) << "after a failure of sync " << skip;
  }
  EXPECT_GT(failures, 2);
  EXPECT_EQ(world.Wrong(), "");
}

TEST(Maintenance, ASourceThatThrowsEndsItsLoadAndNothingElse) {
  FaultFs fs;
  World world(fs, /*background=*/false);
  world.Upsert(0, 500);
  const auto load = [&](const std::function<void()>& fail) {
    auto cancelled = std::make_unique<std::atomic<bool>>(false);
    BulkLoadOptions options;
    options.cancelled = cancelled.get();
    int batches = 0;
    const auto loaded = world.collection->BulkLoad(
        [&](std::vector<Point>* batch) {
          if (batches++ == 1) fail();
          *batch = MakePoints(world.maker, 1000, 100);
          return absl::OkStatus();
        },
        options);
    return loaded.status();
  };
  EXPECT_THAT(load([] { throw std::bad_alloc(); }),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("out of memory")));
  EXPECT_THAT(load([] { throw std::runtime_error("broken source"); }),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("broken source")));
  EXPECT_EQ(world.Wrong(), "");
  world.Upsert(200, 500);
  std::vector<Point> points = MakePoints(world.maker, 600, 500);
  world.model.Upsert(points);
  ASSERT_THAT(world.collection->BulkLoad(Once(points), {}), IsOk());
  EXPECT_EQ(world.Wrong(), "");
  // Nor does a close write to what the loads pointed to.
  ASSERT_THAT(world.database->Close(), IsOk());
}

TEST(Maintenance, ASmallLoadOfOtherRowsIsTaken) {
  FaultFs fs;
  World world(fs, /*background=*/false, /*dim=*/8);
  std::vector<Point> points = MakePoints(world.maker, 0, 6000);
  world.model.Upsert(points);
  ASSERT_THAT(world.collection->BulkLoad(Once(points), {}), IsOk());
  // Far from all that the lists were made for.
  points = MakePoints(world.maker, 10'000, 1400);
  for (size_t i = 0; i < points.size(); ++i) {
    std::vector<float> vector(8);
    for (size_t d = 0; d < 8; ++d) {
      vector[d] = static_cast<float>(1000 + (i * 37 + d * 101) % 977);
    }
    points[i].vectors[0].bytes.assign(reinterpret_cast<const char*>(vector.data()), 32);
  }
  world.model.Upsert(points);
  ASSERT_THAT(world.collection->BulkLoad(Once(points), {}), IsOk());
  EXPECT_EQ(world.Wrong(), "");
}

TEST(Maintenance, ALoadThatReplacesAllBuildsTheNewRowsOnly) {
  FaultFs fs;
  World world(fs, /*background=*/false);
  std::vector<Point> points = MakePoints(world.maker, 0, 4000);
  ASSERT_THAT(world.collection->BulkLoad(Once(points), {}), IsOk());
  const size_t bytes = ExtentBytes(fs);
  points = MakePoints(world.maker, 0, 4000);
  world.model.Upsert(points);
  ASSERT_THAT(world.collection->BulkLoad(Once(points), {}), IsOk());
  EXPECT_LT(ExtentBytes(fs), bytes * 5 / 4);
  EXPECT_EQ(world.Wrong(), "");
  world.Reopen();
  EXPECT_EQ(world.Wrong(), "");
}

TEST(Maintenance, FreshRowsOpenUnderASmallerLimit) {
  FaultFs fs;
  World world(fs, /*background=*/false, /*dim=*/256);
  world.options.memory_limit = uint64_t{1} << 30;
  world.Reopen();
  for (uint64_t i = 0; i < 12; ++i) world.Upsert(i * 1000, 1000);
  ASSERT_EQ(Stats(*world.collection).fresh_rows, 12'000U);
  world.options.memory_limit = kMemoryLimitFloor;
  world.Reopen();
  EXPECT_LT(Stats(*world.collection).fresh_rows, 12'000U);
  EXPECT_THAT(world.collection->Count(), IsOkAndHolds(12'000U));
  world.Upsert(11'500, 1000);
  EXPECT_EQ(world.Wrong(), "");
}

TEST(Maintenance, ABatchThatCanNeverFitSaysSo) {
  FaultFs fs;
  World world(fs, /*background=*/false, /*dim=*/512);
  const absl::Status refused =
      world.collection->Upsert(MakePoints(world.maker, 0, 20'000), Ack::kWal).status();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("are allowed")));
  EXPECT_TRUE(base::LimitOf(refused).has_value());
}

TEST(Maintenance, ManySmallCollectionsTakeWritesAndAbsorb) {
  FaultFs fs;
  DatabaseOptions options = Options(fs, /*background=*/true);
  constexpr int kCollections = 24;
  constexpr uint64_t kRows = 600;
  PointMaker maker(Schema("x", 256), 1);
  for (int round = 0; round < 2; ++round) {
    ASSERT_OK_AND_ASSIGN(auto database, Database::Open("data", options));
    for (int i = 0; i < kCollections; ++i) {
      const std::string name = "c" + std::to_string(i);
      if (round == 0) {
        ASSERT_THAT(database->CreateCollection(Schema(name, 256)), IsOk());
      }
      ASSERT_OK_AND_ASSIGN(auto collection, database->GetCollection(name));
      ASSERT_THAT(collection->Upsert(MakePoints(maker, 0, kRows), Ack::kMemory), IsOk()) << name;
    }
    for (int i = 0; i < kCollections; ++i) {
      ASSERT_OK_AND_ASSIGN(auto collection, database->GetCollection("c" + std::to_string(i)));
      EXPECT_THAT(collection->Count(), IsOkAndHolds(kRows));
      EXPECT_THAT(collection->Search(maker.Query(0), {}), IsOk());
      EXPECT_THAT(collection->Absorb(), IsOk());
    }
  }
}

TEST(Maintenance, DeadRowsStayDeadThroughRebuildsAndOpens) {
  FaultFs fs;
  World world(fs, /*background=*/false);
  world.Upsert(0, 3000);
  ASSERT_THAT(world.collection->Absorb(), IsOk());
  for (uint64_t round = 0; round < 3; ++round) {
    world.Upsert(0, 2000);  // replaced
    world.Delete(2000 + 100 * round, 100);
    ASSERT_THAT(world.collection->Absorb(), IsOk());
    EXPECT_EQ(world.Wrong(), "");
    world.Reopen();
    EXPECT_EQ(world.Wrong(), "");
  }
}

// Writers of the same ids, of other ids, and absorptions, all at once.
TEST(Maintenance, WritersOfOneCollectionDoNotLoseEachOthersPoints) {
  FaultFs fs;
  World world(fs, /*background=*/false);
  constexpr uint64_t kIds = 300;
  std::atomic<bool> stop{false};
  std::thread absorber([&] {
    while (!stop) EXPECT_THAT(world.collection->Absorb(), IsOk());
  });
  std::vector<std::thread> writers;
  for (uint64_t t = 0; t < 4; ++t) {
    writers.emplace_back([&, t] {
      PointMaker maker(world.schema, 10 + t);
      for (uint64_t i = 0; i < 60; ++i) {
        const uint64_t first = (i * 37 + t * 11) % kIds;
        EXPECT_THAT(world.collection->Upsert(MakePoints(maker, first, 20), Ack::kMemory), IsOk());
        if (i % 3 == 0) {
          EXPECT_THAT(world.collection->Delete(MakeIds(first, 5), Ack::kMemory), IsOk());
        }
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  stop = true;
  absorber.join();
  // The counts fit what is there, and every point is there once.
  for (int round = 0; round < 2; ++round) {
    ASSERT_OK_AND_ASSIGN(const uint64_t count, world.collection->Count());
    ASSERT_OK_AND_ASSIGN(const ScrollPage page,
                         world.collection->Scroll(std::nullopt, 1000, {.vectors = true}));
    EXPECT_EQ(page.points.size(), count);
    SearchParams params;
    params.exact = true;
    params.limit = 1000;
    ASSERT_OK_AND_ASSIGN(const SearchResult found,
                         world.collection->Search(world.maker.Query(0), params));
    EXPECT_EQ(found.hits.size(), count);
    world.Reopen();
  }
}

}  // namespace
}  // namespace tessera::db
