// Cuts the power at durable steps of a whole life of a collection, reopens, and compares with what
// was acknowledged.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "db/database.h"
#include "tests/db/model.h"
#include "tests/support/fault_fs.h"
#include "tests/support/seed.h"

namespace tessera::db {
namespace {

base::CollectionSchema Schema() {
  return {.name = "c", .vectors = {{.name = "", .dim = 4, .metric = base::Metric::kL2}}};
}

// One attempt at the workload: stops at the first error. `certain` is what was acknowledged,
// `possible` what the write under way would make of it.
struct Life {
  explicit Life(uint64_t seed) : maker(Schema(), seed), certain(Schema()), possible(Schema()) {}

  PointMaker maker;
  Model certain;
  Model possible;
  bool created = false;   // acknowledged
  bool creating = false;  // tried
  bool dropping = false;
  bool dropped = false;

  std::vector<Point> Points(uint64_t first, uint64_t count) {
    std::vector<Point> points;
    for (uint64_t i = first; i < first + count; ++i) {
      points.push_back(maker.Make(base::PointId(i)));
    }
    return points;
  }
  bool Upsert(Collection& collection, uint64_t first, uint64_t count) {
    std::vector<Point> points = Points(first, count);
    possible = certain;
    possible.Upsert(points);
    if (!collection.Upsert(std::move(points), Ack::kWal).ok()) return false;
    certain = possible;
    return true;
  }
  bool Delete(Collection& collection, uint64_t first, uint64_t count) {
    std::vector<base::PointId> ids;
    possible = certain;
    for (uint64_t i = first; i < first + count; ++i) {
      ids.emplace_back(i);
      possible.points().erase(ids.back());
    }
    if (!collection.Delete(ids, Ack::kWal).ok()) return false;
    certain = possible;
    return true;
  }
  bool Load(Collection& collection, uint64_t first, uint64_t count) {
    const std::vector<Point> points = Points(first, count);
    possible = certain;
    possible.Upsert(points);
    bool given = false;
    const auto loaded = collection.BulkLoad(
        [&](std::vector<Point>* batch) {
          if (!given) *batch = points;
          given = true;
          return absl::OkStatus();
        },
        {.threads = 1, .progress = nullptr});
    if (!loaded.ok()) return false;
    certain = possible;
    return true;
  }

  bool Run(FaultFs& fs) {
    DatabaseOptions options;
    options.memory_limit = kMemoryLimitFloor;
    options.threads = 1;
    options.background_absorb = false;
    options.fs = &fs;
    auto database = Database::Open("data", options);
    if (!database.ok()) return false;
    creating = true;
    if (!(*database)->CreateCollection(Schema()).ok()) return false;
    created = true;
    auto found = (*database)->GetCollection("c");
    if (!found.ok()) return false;
    Collection& c = **found;
    if (!Upsert(c, 0, 60) || !Upsert(c, 40, 40) || !c.Absorb().ok()) return false;
    if (!Upsert(c, 70, 60) || !Delete(c, 10, 30) || !c.Absorb().ok()) return false;
    if (!Load(c, 100, 90) || !Upsert(c, 20, 5) || !Delete(c, 150, 10)) return false;
    if (!c.Absorb().ok()) return false;
    found->reset();
    if (!(*database)->Close().ok()) return false;
    database->reset();

    database = Database::Open("data", options);
    if (!database.ok()) return false;
    found = (*database)->GetCollection("c");
    if (!found.ok() || !Upsert(**found, 300, 10)) return false;
    found->reset();
    dropping = true;
    if (!(*database)->DropCollection("c").ok()) return false;
    dropped = true;
    return (*database)->Close().ok();
  }
};

void CheckAfterCut(FaultFs& fs, Life& life) {
  DatabaseOptions options;
  options.memory_limit = kMemoryLimitFloor;
  options.threads = 1;
  options.background_absorb = false;
  options.fs = &fs;
  auto database = Database::Open("data", options);
  ASSERT_TRUE(database.ok()) << database.status();
  auto collection = (*database)->GetCollection("c");
  if (!collection.ok()) {
    ASSERT_TRUE(absl::IsNotFound(collection.status())) << collection.status();
    EXPECT_TRUE(!life.created || life.dropping) << "an acknowledged collection is gone";
    return;
  }
  EXPECT_FALSE(life.dropped) << "a dropped collection is back";
  EXPECT_TRUE(life.creating);
  const std::string certain = Difference(**collection, life.certain, life.maker);
  const std::string possible = Difference(**collection, life.possible, life.maker);
  EXPECT_TRUE(certain.empty() || possible.empty())
      << "with what was acknowledged: " << certain << "\nwith the last write: " << possible;
  // It can be written to, absorbed and read on.
  Model& state = certain.empty() ? life.certain : life.possible;
  std::vector<Point> more = life.Points(500, 30);
  state.Upsert(more);
  ASSERT_TRUE((*collection)->Upsert(std::move(more), Ack::kWal).ok());
  const absl::Status absorbed = (*collection)->Absorb();
  ASSERT_TRUE(absorbed.ok()) << absorbed;
  EXPECT_EQ(Difference(**collection, state, life.maker), "");
  for (const std::string& file : fs.Files()) {
    EXPECT_EQ(file.find("/scratch/"), std::string::npos) << file << " was left behind";
  }
}

void CutEverywhere(Tear tear, int64_t first, int64_t step) {
  int64_t operations = 0;
  {
    FaultFs fs;
    Life life(TestSeed());
    ASSERT_TRUE(life.Run(fs));
    operations = fs.operations();
  }
  ASSERT_GT(operations, 100);
  int64_t cuts = 0;
  for (int64_t at = first; at < operations; at += step) {
    SCOPED_TRACE(testing::Message() << "power cut at operation " << at << " of " << operations
                                    << ", " << ToString(tear));
    FaultFs fs;
    fs.FailFrom(at);
    Life life(TestSeed());
    life.Run(fs);
    fs.CutPower(tear);
    CheckAfterCut(fs, life);
    if (testing::Test::HasFatalFailure() || testing::Test::HasNonfatalFailure()) return;
    ++cuts;
  }
  testing::Test::RecordProperty("cuts", std::to_string(cuts));
}

// Every seventh operation, beginning at one that the seed chooses; PowerCutAll takes every one.
constexpr int64_t kStep = 7;
int64_t First() {
  return static_cast<int64_t>(TestSeed() % kStep);
}

TEST(PowerCut, NothingUnsyncedSurvives) {
  CutEverywhere(Tear::kNothing, First(), kStep);
}
TEST(PowerCut, PartsOfWhatWasUnsyncedSurvive) {
  CutEverywhere(Tear::kUnsyncedTail, First(), kStep);
}
TEST(PowerCut, HalfOfTheLastAppendSurvives) {
  CutEverywhere(Tear::kHalfOfLastWrite, First(), kStep);
}

TEST(PowerCutAll, NothingUnsyncedSurvives) {
  CutEverywhere(Tear::kNothing, 0, 1);
}
TEST(PowerCutAll, PartsOfWhatWasUnsyncedSurvive) {
  CutEverywhere(Tear::kUnsyncedTail, 0, 1);
}
TEST(PowerCutAll, HalfOfTheLastAppendSurvives) {
  CutEverywhere(Tear::kHalfOfLastWrite, 0, 1);
}

}  // namespace
}  // namespace tessera::db
