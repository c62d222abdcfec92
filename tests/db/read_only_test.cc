// A data directory that is only read: everything is there, nothing is changed.
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "db/database.h"
#include "tests/db/model.h"
#include "tests/support/fault_fs.h"
#include "tests/support/fs_image.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::db {
namespace {

using testing::HasSubstr;

constexpr char kData[] = "/data";

base::CollectionSchema Schema() {
  return {.name = "c", .vectors = {{.name = "", .dim = 4, .metric = base::Metric::kL2}}};
}

DatabaseOptions Options(FaultFs& fs, bool read_only) {
  DatabaseOptions options;
  options.memory_limit = kMemoryLimitFloor;
  options.threads = 1;
  options.background_absorb = false;
  options.read_only = read_only;
  options.fs = &fs;
  return options;
}

class ReadOnlyTest : public testing::TestWithParam<bool> {
 protected:
  ReadOnlyTest() : maker_(Schema(), TestSeed()), model_(Schema()) {}

  // Absorbed and fresh rows, a deletion, a collection that was dropped; closed or killed.
  void SetUp() override {
    auto database = Database::Open(kData, Options(fs_, false));
    ASSERT_OK(database);
    ASSERT_OK((*database)->CreateCollection(Schema()));
    auto collection = *(*database)->GetCollection("c");
    ASSERT_OK(collection->Upsert(Points(0, 100), Ack::kWal));
    ASSERT_OK(collection->Absorb());
    ASSERT_OK(collection->Upsert(Points(90, 40), Ack::kWal));
    ASSERT_OK(collection->Delete(std::vector{base::PointId(7), base::PointId(125)}, Ack::kWal));
    model_.points().erase(base::PointId(7));
    model_.points().erase(base::PointId(125));
    collection.reset();
    if (GetParam()) fs_.FailFrom(fs_.operations());
    database->reset();
    if (GetParam()) fs_.KillProcess();
    fs_.SetReadOnly(true);
    image_ = Capture(fs_);
  }

  std::vector<Point> Points(uint64_t first, uint64_t count) {
    std::vector<Point> points;
    for (uint64_t i = first; i < first + count; ++i)
      points.push_back(maker_.Make(base::PointId(i)));
    model_.Upsert(points);
    return points;
  }

  FaultFs fs_;
  PointMaker maker_;
  Model model_;
  FsImage image_;
};

TEST_P(ReadOnlyTest, ReadsEverythingAndWritesNothing) {
  EXPECT_THAT(Database::Open(kData, Options(fs_, false)),
              StatusIs(absl::StatusCode::kPermissionDenied));
  {
    auto database = Database::Open(kData, Options(fs_, true));
    ASSERT_OK(database);
    auto second = Database::Open(kData, Options(fs_, true));
    ASSERT_OK(second);
    EXPECT_EQ((*database)->ListCollections().size(), 1U);
    auto collection = *(*database)->GetCollection("c");
    EXPECT_EQ(Difference(*collection, model_, maker_), "");
    const auto stats = collection->Stats();
    ASSERT_OK(stats);
    EXPECT_EQ(stats->points, model_.points().size());
    EXPECT_OK((*database)->Close());
  }
  EXPECT_EQ(Capture(fs_), image_);
}

TEST_P(ReadOnlyTest, EveryChangeIsRefused) {
  auto database = Database::Open(kData, Options(fs_, true));
  ASSERT_OK(database);
  auto collection = *(*database)->GetCollection("c");
  const auto refused = StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("reading only"));
  const std::vector<base::PointId> ids = {base::PointId(1)};
  const Model before = model_;
  EXPECT_THAT(collection->Upsert(Points(500, 1), Ack::kMemory), refused);
  EXPECT_THAT(collection->Delete(ids, Ack::kMemory), refused);
  EXPECT_THAT(collection->SetPayload(ids, base::Value(base::Value::Object{}), Ack::kMemory),
              refused);
  EXPECT_THAT(collection->Absorb(), refused);
  EXPECT_THAT(collection->BulkLoad([](std::vector<Point>*) { return absl::OkStatus(); }, {}),
              refused);
  base::CollectionSchema other = Schema();
  other.name = "other";
  EXPECT_THAT((*database)->CreateCollection(other), refused);
  EXPECT_THAT((*database)->DropCollection("c"), refused);
  EXPECT_EQ(Difference(*collection, before, maker_), "");
  collection.reset();
  database->reset();
  EXPECT_EQ(Capture(fs_), image_);
}

TEST_P(ReadOnlyTest, OneThatWritesHasItAlone) {
  fs_.SetReadOnly(false);
  {
    auto writer = Database::Open(kData, Options(fs_, false));
    ASSERT_OK(writer);
    EXPECT_THAT(Database::Open(kData, Options(fs_, true)),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("in use")));
  }
  auto reader = Database::Open(kData, Options(fs_, true));
  ASSERT_OK(reader);
  EXPECT_THAT(Database::Open(kData, Options(fs_, false)),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("in use")));
}

TEST_P(ReadOnlyTest, WhereThereIsNothingNothingIsMade) {
  FaultFs empty;
  EXPECT_THAT(Database::Open(kData, Options(empty, true)), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_TRUE(empty.Files().empty());
}

INSTANTIATE_TEST_SUITE_P(ClosedAndKilled, ReadOnlyTest, testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Killed" : "Closed"; });

}  // namespace
}  // namespace tessera::db
