#include "db/database.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/files/file_system.h"
#include "base/status_details.h"
#include "tests/db/model.h"
#include "tests/support/fault_fs.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::db {
namespace {

using testing::AllOf;
using testing::HasSubstr;

DatabaseOptions SmallOptions() {
  DatabaseOptions options;
  options.memory_limit = kMemoryLimitFloor;
  options.threads = 1;
  return options;
}

base::CollectionSchema Schema(const std::string& name) {
  return {.name = name, .vectors = {{.name = "", .dim = 4, .metric = base::Metric::kL2}}};
}

std::vector<Point> MakePoints(PointMaker& maker, uint64_t count) {
  std::vector<Point> points;
  for (uint64_t i = 0; i < count; ++i) points.push_back(maker.Make(base::PointId(i)));
  return points;
}

TEST(Database, CollectionsAreCreatedListedAndDropped) {
  TempDir dir;
  {
    ASSERT_OK_AND_ASSIGN(auto database, Database::Open(dir.path(), SmallOptions()));
    ASSERT_THAT(database->CreateCollection(Schema("b")), IsOk());
    ASSERT_THAT(database->CreateCollection(Schema("a")), IsOk());
    EXPECT_THAT(database->CreateCollection(Schema("a")),
                StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("\"a\"")));
    EXPECT_THAT(database->CreateCollection(Schema("bad name")),
                StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(database->GetCollection("c"),
                StatusIs(absl::StatusCode::kNotFound, HasSubstr("\"c\"")));
  }
  ASSERT_OK_AND_ASSIGN(auto database, Database::Open(dir.path(), SmallOptions()));
  EXPECT_EQ(database->ListCollections(), (std::vector{Schema("a"), Schema("b")}));
  ASSERT_OK_AND_ASSIGN(auto a, database->GetCollection("a"));
  PointMaker maker(Schema("a"), 1);
  ASSERT_THAT(a->Upsert(MakePoints(maker, 10), Ack::kWal), IsOk());
  ASSERT_THAT(database->DropCollection("a"), IsOk());
  EXPECT_THAT(database->DropCollection("a"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(a->Count(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("dropped")));
  EXPECT_THAT(a->Upsert(MakePoints(maker, 1), Ack::kWal),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("dropped")));
  // A new one of that name is empty.
  ASSERT_THAT(database->CreateCollection(Schema("a")), IsOk());
  ASSERT_OK_AND_ASSIGN(a, database->GetCollection("a"));
  EXPECT_THAT(a->Count(), IsOkAndHolds(0U));
}

TEST(Database, DroppedCollectionLeavesNoExtentFiles) {
  FaultFs fs;
  DatabaseOptions options = SmallOptions();
  options.fs = &fs;
  ASSERT_OK_AND_ASSIGN(auto database, Database::Open("data", options));
  ASSERT_THAT(database->CreateCollection(Schema("a")), IsOk());
  ASSERT_OK_AND_ASSIGN(auto a, database->GetCollection("a"));
  PointMaker maker(Schema("a"), 1);
  ASSERT_THAT(a->Upsert(MakePoints(maker, 1000), Ack::kWal), IsOk());
  ASSERT_THAT(a->Absorb(), IsOk());
  const auto extent_files = [&] {
    size_t count = 0;
    for (const std::string& file : fs.Files()) {
      count += file.find("/extents/") != std::string::npos;
    }
    return count;
  };
  EXPECT_GT(extent_files(), 0U);
  ASSERT_THAT(database->DropCollection("a"), IsOk());
  EXPECT_EQ(extent_files(), 0U);
}

TEST(Database, OpenRefusesWhatItCannotServe) {
  TempDir dir;
  DatabaseOptions options = SmallOptions();
  options.create_if_missing = false;
  EXPECT_THAT(Database::Open(dir.File("none"), options),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none")));
  options = SmallOptions();
  options.memory_limit = kMemoryLimitFloor - 1;
  EXPECT_THAT(Database::Open(dir.path(), options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at least 128")));
  options = SmallOptions();
  ASSERT_OK_AND_ASSIGN(auto database, Database::Open(dir.path(), options));
  EXPECT_THAT(Database::Open(dir.path(), options),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("in use by another process"), HasSubstr(dir.path()))));
}

TEST(Database, AForeignDirectoryIsRefusedAndStaysAsItIs) {
  FaultFs fs;
  DatabaseOptions options = SmallOptions();
  options.fs = &fs;
  const auto refused = [&](const std::string& path, const std::string& what) {
    const std::vector<std::string> files = fs.Files();
    for (const bool create : {false, true}) {
      options.create_if_missing = create;
      EXPECT_THAT(Database::Open(path, options),
                  StatusIs(absl::StatusCode::kFailedPrecondition,
                           AllOf(HasSubstr(path), HasSubstr("not a Tessera data directory"),
                                 HasSubstr(what))));
    }
    EXPECT_EQ(fs.Files(), files);
    EXPECT_THAT(fs.Exists(path + "/rows"), IsOkAndHolds(false));
  };
  ASSERT_OK(fs.CreateDirectory("foreign"));
  ASSERT_OK(fs.OpenForWrite("foreign/thesis.txt", base::WriteMode::kTruncate));
  refused("foreign", "thesis.txt");
  ASSERT_OK(fs.CreateDirectory("other"));
  ASSERT_OK(fs.CreateDirectory("other/scratch"));
  ASSERT_OK(fs.OpenForWrite("other/scratch/notes", base::WriteMode::kTruncate));
  refused("other", "scratch");
}

TEST(Database, ADirectoryWithoutDataIsForThoseWhoCreate) {
  FaultFs fs;
  DatabaseOptions options = SmallOptions();
  options.fs = &fs;
  options.create_if_missing = false;
  ASSERT_OK(fs.CreateDirectory("empty"));
  for (const char* leftover : {"", "empty/scratch", "empty/rows", "empty/extents"}) {
    if (*leftover != 0) {
      ASSERT_OK(fs.CreateDirectory(leftover));
    }
    EXPECT_THAT(Database::Open("empty", options),
                StatusIs(absl::StatusCode::kNotFound, HasSubstr("empty holds no Tessera data")));
    EXPECT_EQ(fs.Files(), std::vector<std::string>());
  }
  options.create_if_missing = true;
  EXPECT_OK(Database::Open("empty", options));
  options.create_if_missing = false;
  EXPECT_OK(Database::Open("empty", options));
}

TEST(Database, CallsAfterCloseAreRefused) {
  TempDir dir;
  ASSERT_OK_AND_ASSIGN(auto database, Database::Open(dir.path(), SmallOptions()));
  ASSERT_THAT(database->CreateCollection(Schema("a")), IsOk());
  ASSERT_OK_AND_ASSIGN(auto a, database->GetCollection("a"));
  ASSERT_THAT(database->Close(), IsOk());
  EXPECT_THAT(database->CreateCollection(Schema("b")),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(a->Count(), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(Database, MemoryIsAccountedWithinTheLimit) {
  TempDir dir;
  ASSERT_OK_AND_ASSIGN(auto database, Database::Open(dir.path(), SmallOptions()));
  const MemoryUsage usage = database->Memory();
  EXPECT_EQ(usage.limit_bytes, kMemoryLimitFloor);
  EXPECT_GT(usage.used_bytes, 0U);
  EXPECT_LE(usage.used_bytes, usage.limit_bytes);
  EXPECT_GE(usage.components.size(), 2U);
}

TEST(Database, BatchLargerThanTheMemoryForFreshRowsIsRefused) {
  TempDir dir;
  ASSERT_OK_AND_ASSIGN(auto database, Database::Open(dir.path(), SmallOptions()));
  base::CollectionSchema schema = Schema("a");
  schema.vectors[0].dim = 512;
  ASSERT_THAT(database->CreateCollection(schema), IsOk());
  ASSERT_OK_AND_ASSIGN(auto a, database->GetCollection("a"));
  PointMaker maker(schema, 1, 2);
  const absl::Status refused = a->Upsert(MakePoints(maker, 20'000), Ack::kWal).status();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("are allowed")));
  EXPECT_TRUE(base::LimitOf(refused).has_value());  // it will never fit
  EXPECT_THAT(a->Count(), IsOkAndHolds(0U));
  // Smaller batches are absorbed as they come.
  Model model(schema);
  for (int i = 0; i < 6; ++i) {
    std::vector<Point> points;
    for (uint64_t j = 0; j < 600; ++j) {
      points.push_back(maker.Make(base::PointId(static_cast<uint64_t>(i) * 600 + j)));
    }
    model.Upsert(points);
    ASSERT_THAT(a->Upsert(std::move(points), Ack::kMemory), IsOk());
  }
  EXPECT_EQ(Difference(*a, model, maker), "");
}

TEST(Database, NoSpaceLeavesNothingHalfApplied) {
  FaultFs fs;
  DatabaseOptions options = SmallOptions();
  options.fs = &fs;
  options.background_absorb = false;
  ASSERT_OK_AND_ASSIGN(auto database, Database::Open("data", options));
  ASSERT_THAT(database->CreateCollection(Schema("a")), IsOk());
  ASSERT_OK_AND_ASSIGN(auto a, database->GetCollection("a"));
  PointMaker maker(Schema("a"), 1);
  Model model(Schema("a"));
  std::vector<Point> points = MakePoints(maker, 500);
  model.Upsert(points);
  ASSERT_THAT(a->Upsert(points, Ack::kWal), IsOk());

  for (const char* part : {"extents", "scratch"}) {
    SCOPED_TRACE(part);
    fs.AddRule({.op = FaultOp::kAppend, .path_part = part, .kind = FaultKind::kNoSpace});
    EXPECT_THAT(a->Absorb(), StatusIs(absl::StatusCode::kResourceExhausted));
    EXPECT_EQ(Difference(*a, model, maker), "");
    bool done = false;
    const auto loaded = a->BulkLoad(
        [&](std::vector<Point>* batch) {
          if (!done) *batch = MakePoints(maker, 300);
          done = true;
          return absl::OkStatus();
        },
        {});
    EXPECT_THAT(loaded, StatusIs(absl::StatusCode::kResourceExhausted));
    EXPECT_EQ(Difference(*a, model, maker), "");
    fs.ClearRules();
  }
  ASSERT_THAT(a->Absorb(), IsOk());
  EXPECT_EQ(Difference(*a, model, maker), "");
  ASSERT_THAT(database->Close(), IsOk());
  database.reset();
  ASSERT_OK_AND_ASSIGN(database, Database::Open("data", options));
  ASSERT_OK_AND_ASSIGN(a, database->GetCollection("a"));
  EXPECT_EQ(Difference(*a, model, maker), "");
}

// In whichever step it is.
TEST(Database, ACancelledBulkLoadLeavesNothing) {
  FaultFs fs;
  DatabaseOptions options = SmallOptions();
  options.fs = &fs;
  options.background_absorb = false;
  ASSERT_OK_AND_ASSIGN(auto database, Database::Open("data", options));
  ASSERT_THAT(database->CreateCollection(Schema("a")), IsOk());
  ASSERT_OK_AND_ASSIGN(auto a, database->GetCollection("a"));
  PointMaker maker(Schema("a"), 1);
  Model model(Schema("a"));
  const std::vector<Point> old = MakePoints(maker, 500);
  model.Upsert(old);
  ASSERT_THAT(a->Upsert(old, Ack::kWal), IsOk());
  ASSERT_THAT(a->Absorb(), IsOk());
  const std::vector<Point> points = MakePoints(maker, 5000);
  const std::vector<std::string> files = fs.Files();
  for (const char* phase : {"read", "train", "assign", "write", "calibrate", "publish"}) {
    SCOPED_TRACE(phase);
    std::atomic<bool> cancelled{false};
    BulkLoadOptions load;
    load.cancelled = &cancelled;
    load.progress = [&](const BulkLoadProgress& progress) {
      if (progress.phase == phase) cancelled = true;
    };
    bool done = false;
    EXPECT_THAT(a->BulkLoad(
                    [&](std::vector<Point>* batch) {
                      if (!done) *batch = points;
                      done = true;
                      return absl::OkStatus();
                    },
                    load),
                StatusIs(absl::StatusCode::kCancelled));
    EXPECT_TRUE(cancelled) << "the load has no such phase";
    EXPECT_EQ(Difference(*a, model, maker), "");
    EXPECT_EQ(fs.Files(), files);
  }
}

TEST(Database, CloseCancelsABulkLoad) {
  FaultFs fs;
  DatabaseOptions options = SmallOptions();
  options.fs = &fs;
  ASSERT_OK_AND_ASSIGN(auto database, Database::Open("data", options));
  ASSERT_THAT(database->CreateCollection(Schema("a")), IsOk());
  ASSERT_OK_AND_ASSIGN(auto a, database->GetCollection("a"));
  PointMaker maker(Schema("a"), 1);
  std::atomic<bool> cancelled{false};
  BulkLoadOptions load;
  load.cancelled = &cancelled;
  std::thread closer;
  load.progress = [&](const BulkLoadProgress& progress) {
    if (progress.phase != "write" || closer.joinable()) return;
    closer = std::thread([&] { EXPECT_THAT(database->Close(), IsOk()); });
    while (!cancelled) std::this_thread::yield();
  };
  bool done = false;
  EXPECT_THAT(a->BulkLoad(
                  [&](std::vector<Point>* batch) {
                    if (!done) *batch = MakePoints(maker, 5000);
                    done = true;
                    return absl::OkStatus();
                  },
                  load),
              StatusIs(absl::StatusCode::kCancelled));
  closer.join();
  database.reset();
  ASSERT_OK_AND_ASSIGN(database, Database::Open("data", options));
  ASSERT_OK_AND_ASSIGN(a, database->GetCollection("a"));
  EXPECT_THAT(a->Count(), IsOkAndHolds(0U));
}

TEST(Database, DamagedExtentIsReportedAndNeverSearched) {
  FaultFs fs;
  DatabaseOptions options = SmallOptions();
  options.fs = &fs;
  options.background_absorb = false;
  PointMaker maker(Schema("a"), 1);
  {
    ASSERT_OK_AND_ASSIGN(auto database, Database::Open("data", options));
    ASSERT_THAT(database->CreateCollection(Schema("a")), IsOk());
    ASSERT_OK_AND_ASSIGN(auto a, database->GetCollection("a"));
    ASSERT_THAT(a->Upsert(MakePoints(maker, 2000), Ack::kWal), IsOk());
    ASSERT_THAT(a->Absorb(), IsOk());
  }
  size_t damaged = 0;
  for (const std::string& file : fs.Files()) {
    if (file.find("/extents/") == std::string::npos) continue;
    ASSERT_OK_AND_ASSIGN(const uint64_t bytes, fs.FileSize(file));
    for (uint64_t offset = 4096; offset < bytes; offset += 97) {
      ASSERT_THAT(fs.CorruptByte(file, offset, 0x40), IsOk());
      ++damaged;
    }
  }
  ASSERT_GT(damaged, 100U);
  const auto database = Database::Open("data", options);
  if (!database.ok()) {
    EXPECT_THAT(database, StatusIs(absl::StatusCode::kDataLoss));
    return;
  }
  ASSERT_OK_AND_ASSIGN(auto a, (*database)->GetCollection("a"));
  EXPECT_THAT(a->Search(maker.Query(0), {}), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace tessera::db
