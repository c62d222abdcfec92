// Two collections: whatever one of them does, no call of the other waits for it.
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "db/database.h"
#include "tests/db/model.h"
#include "tests/support/fault_fs.h"
#include "tests/support/status_matchers.h"

namespace tessera::db {
namespace {

using testing::HasSubstr;

base::CollectionSchema Schema(const std::string& name) {
  return {.name = name, .vectors = {{.name = "", .dim = 4, .metric = base::Metric::kL2}}};
}

// Holds whoever comes to it until it is opened.
class Gate {
 public:
  void Pass() {
    std::unique_lock<std::mutex> lock(mu_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
  }
  void WaitForSomebody() {
    std::unique_lock<std::mutex> lock(mu_);
    changed_.wait(lock, [&] { return waiting_ > 0; });
  }
  void Open() {
    const std::lock_guard<std::mutex> lock(mu_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  bool open_ = false;
  int waiting_ = 0;
};

std::vector<Point> MakePoints(PointMaker& maker, uint64_t first, uint64_t count) {
  std::vector<Point> points;
  for (uint64_t i = first; i < first + count; ++i) points.push_back(maker.Make(base::PointId(i)));
  return points;
}

PointSource Once(const std::vector<Point>& points) {
  return [points, given = false](std::vector<Point>* batch) mutable {
    if (!given) *batch = points;
    given = true;
    return absl::OkStatus();
  };
}

class Isolation : public testing::Test {
 protected:
  Isolation() : maker(Schema("x"), 1) {
    options.memory_limit = kMemoryLimitFloor;
    options.threads = 1;
    options.fs = &fs;
    auto opened = Database::Open("data", options);
    EXPECT_TRUE(opened.ok()) << opened.status();
    database = *std::move(opened);
    EXPECT_THAT(database->CreateCollection(Schema("a")), IsOk());
    a = *database->GetCollection("a");
  }

  // Every kind of call. A call that waited would wait for ever: the gate is shut.
  void EveryCallOfAnother(const std::string& name) {
    ASSERT_THAT(database->CreateCollection(Schema(name)), IsOk());
    ASSERT_OK_AND_ASSIGN(auto b, database->GetCollection(name));
    ASSERT_THAT(b->Upsert(MakePoints(maker, 0, 500), Ack::kWal), IsOk());
    ASSERT_THAT(b->Absorb(), IsOk());
    ASSERT_THAT(b->BulkLoad(Once(MakePoints(maker, 400, 600)), {}), IsOk());
    ASSERT_THAT(b->Delete(std::vector{base::PointId(uint64_t{3})}, Ack::kWal), IsOkAndHolds(1U));
    EXPECT_THAT(b->Count(), IsOkAndHolds(999U));
    EXPECT_THAT(b->Search(maker.Query(0), {}), IsOk());
    EXPECT_THAT(b->Scroll(std::nullopt, 10, {}), IsOk());
    EXPECT_THAT(b->Stats(), IsOk());
    EXPECT_FALSE(database->ListCollections().empty());
    ASSERT_THAT(database->DropCollection(name), IsOk());
    ASSERT_THAT(database->CreateCollection(Schema(name)), IsOk());
    ASSERT_THAT(database->DropCollection(name), IsOk());
  }

  FaultFs fs;
  DatabaseOptions options;
  PointMaker maker;
  std::unique_ptr<Database> database;
  std::shared_ptr<Collection> a;
};

TEST_F(Isolation, ALoadWhoseClientSaysNothing) {
  Gate gate;
  std::thread loader([&] {
    EXPECT_THAT(a->BulkLoad(
                    [&](std::vector<Point>*) {
                      gate.Pass();
                      return absl::OkStatus();
                    },
                    {}),
                IsOk());
  });
  gate.WaitForSomebody();
  EveryCallOfAnother("b");
  // Of the same collection, whoever reads does not wait; whoever writes is told.
  EXPECT_THAT(a->Search(maker.Query(0), {}), IsOk());
  EXPECT_THAT(a->Upsert(MakePoints(maker, 0, 1), Ack::kWal),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("bulk")));
  gate.Open();
  loader.join();
}

TEST_F(Isolation, ALoadAtEveryPhase) {
  for (const char* phase : {"read", "train", "assign", "write", "calibrate", "publish"}) {
    SCOPED_TRACE(phase);
    Gate gate;
    std::atomic<bool> reached{false};
    BulkLoadOptions load;
    load.progress = [&](const BulkLoadProgress& progress) {
      if (progress.phase == phase && !reached.exchange(true)) gate.Pass();
    };
    std::thread loader(
        [&] { EXPECT_THAT(a->BulkLoad(Once(MakePoints(maker, 0, 4000)), load), IsOk()); });
    gate.WaitForSomebody();
    // The maker is the loader's no more once its points are made.
    EveryCallOfAnother("b");
    gate.Open();
    loader.join();
  }
}

TEST_F(Isolation, ADropBesideALoadWhoseClientSaysNothing) {
  ASSERT_THAT(a->Upsert(MakePoints(maker, 0, 100), Ack::kWal), IsOk());
  Gate gate;
  absl::Status loaded;
  std::atomic<bool> cancelled{false};
  std::thread loader([&] {
    BulkLoadOptions load;
    load.cancelled = &cancelled;
    loaded = a->BulkLoad(
                  [&](std::vector<Point>* batch) {
                    gate.Pass();
                    *batch = MakePoints(maker, 0, 10);
                    return absl::OkStatus();
                  },
                  load)
                 .status();
  });
  gate.WaitForSomebody();
  ASSERT_THAT(database->DropCollection("a"), IsOk());
  EXPECT_TRUE(cancelled) << "the load's owner is told";
  EXPECT_THAT(a->Count(), StatusIs(absl::StatusCode::kNotFound));
  EveryCallOfAnother("b");
  // The name is free, and what comes under it is another collection.
  ASSERT_THAT(database->CreateCollection(Schema("a")), IsOk());
  ASSERT_OK_AND_ASSIGN(auto again, database->GetCollection("a"));
  ASSERT_THAT(again->Upsert(MakePoints(maker, 0, 7), Ack::kWal), IsOk());
  gate.Open();
  loader.join();
  EXPECT_THAT(loaded, StatusIs(absl::StatusCode::kNotFound, HasSubstr("dropped")));
  EXPECT_THAT(again->Count(), IsOkAndHolds(7U));
  a.reset();
  again.reset();
  ASSERT_THAT(database->Close(), IsOk());
  database.reset();
  ASSERT_OK_AND_ASSIGN(database, Database::Open("data", options));
  ASSERT_OK_AND_ASSIGN(again, database->GetCollection("a"));
  EXPECT_THAT(again->Count(), IsOkAndHolds(7U));
}

TEST_F(Isolation, AnAbsorptionThatFailsAgainAndAgain) {
  fs.AddRule({.op = FaultOp::kAppend, .path_part = "extents", .kind = FaultKind::kNoSpace});
  ASSERT_THAT(a->Upsert(MakePoints(maker, 0, 6000), Ack::kMemory), IsOk());
  EXPECT_THAT(a->Absorb(), StatusIs(absl::StatusCode::kResourceExhausted));
  ASSERT_THAT(database->CreateCollection(Schema("b")), IsOk());
  ASSERT_OK_AND_ASSIGN(auto b, database->GetCollection("b"));
  ASSERT_THAT(b->Upsert(MakePoints(maker, 0, 500), Ack::kWal), IsOk());
  EXPECT_THAT(b->Search(maker.Query(0), {}), IsOk());
  fs.ClearRules();
  EXPECT_THAT(b->Absorb(), IsOk());
}

TEST_F(Isolation, ACreateThatFailsLeavesNothing) {
  fs.AddRule({.op = FaultOp::kSync, .path_part = "rows", .count = 1});
  const absl::Status created = database->CreateCollection(Schema("b"));
  fs.ClearRules();
  EXPECT_FALSE(created.ok());
  EXPECT_THAT(database->GetCollection("b"), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace tessera::db
