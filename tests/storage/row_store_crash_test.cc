// What the row store keeps of its promises when the power goes out, space runs out or the disk
// errs. Damage of what is on the disk: wal_check_test.cc. Bulk loads: bulk_writer_test.cc.
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/status_macros.h"
#include "storage/bulk_writer.h"
#include "storage/row_store.h"
#include "tests/storage/rows.h"
#include "tests/support/fault_fs.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::storage {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Eq;
using testing::HasSubstr;
using testing::Optional;
using testing::Pair;

constexpr char kDir[] = "/rows";
constexpr std::array kTears = {Tear::kNothing, Tear::kUnsyncedTail, Tear::kHalfOfLastWrite};

std::string TraceOf(int64_t cut, Tear tear) {
  return absl::StrCat("cut before operation ", cut, ", tear: ", ToString(tear).data());
}

// The rows of the two tables the workloads write to.
using State = std::pair<RowList, RowList>;

State StateOf(const RowStore& store) {
  return {Rows(store, Table::kPoints), Rows(store, Table::kIds)};
}

// Write number `i` of the workloads: in both tables it replaces a row, adds one and deletes two.
WriteSet Change(int i) {
  WriteSet set;
  for (const Table table : {Table::kPoints, Table::kIds}) {
    set.Put(table, "last", absl::StrCat(i));
    set.Put(table, absl::StrCat("row", i), std::string(10 * static_cast<size_t>(i % 7), 'v'));
    set.Delete(table, absl::StrCat("row", i - 5));
    set.Delete(table, absl::StrCat("row", i - 8));
  }
  return set;
}

constexpr int kWrites = 16;
Durability DurabilityOf(int i) {
  return i % 4 == 3 ? Durability::kBuffered : Durability::kSynced;
}

// States after 0, 1 .. kWrites writes.
std::vector<State> AllStates() {
  FaultFs fs;
  const std::unique_ptr<RowStore> store = MustOpen(fs, kDir);
  std::vector<State> states = {StateOf(*store)};
  for (int i = 0; i < kWrites; ++i) {
    EXPECT_OK(store->Write(Change(i), Durability::kBuffered));
    states.push_back(StateOf(*store));
  }
  return states;
}

// How far a client has come before the power went out.
struct Progress {
  std::unique_ptr<RowStore> store;  // null: it was not opened
  int durable = 0;                  // this many writes were promised
  int begun = 0;
};

// `between` is called after every write that succeeded; the workload ends with the first error.
Progress RunWorkload(FaultFs& fs, const std::function<absl::Status(RowStore&, int)>& between) {
  Progress progress;
  absl::StatusOr<std::unique_ptr<RowStore>> store = RowStore::Open(fs, kDir, kSmallRowStore);
  if (!store.ok()) {
    return progress;
  }
  progress.store = *std::move(store);
  for (int i = 0; i < kWrites; ++i) {
    ++progress.begun;
    if (!progress.store->Write(Change(i), DurabilityOf(i)).ok()) {
      break;
    }
    if (DurabilityOf(i) == Durability::kSynced) {
      progress.durable = i + 1;
    }
    if (!between(*progress.store, i).ok()) {
      break;
    }
  }
  return progress;
}

// Opens what is left, several times, now and then with another power cut in the first recovery.
void ExpectPromisesKept(FaultFs& fs, const std::vector<State>& states, const Progress& progress,
                        std::mt19937_64& rng) {
  if (rng() % 4 == 0) {
    fs.FailFrom(static_cast<int64_t>(rng() % 40));
    absl::StatusOr<std::unique_ptr<RowStore>> cut_again = RowStore::Open(fs, kDir, kSmallRowStore);
    PowerCut(fs, kTears[rng() % kTears.size()], cut_again.ok() ? *std::move(cut_again) : nullptr);
  }
  const auto durable = static_cast<size_t>(progress.durable);
  const auto begun = static_cast<size_t>(progress.begun);
  State first;
  for (int open = 0; open < 2; ++open) {
    const std::unique_ptr<RowStore> store = MustOpen(fs, kDir);
    ASSERT_NE(store, nullptr);
    const State found = StateOf(*store);
    if (open == 0) {
      first = found;
      const auto possible = std::vector<State>(states.begin() + static_cast<ptrdiff_t>(durable),
                                               states.begin() + static_cast<ptrdiff_t>(begun) + 1);
      ASSERT_THAT(possible, Contains(found)) << durable << " of " << begun << " were promised";
      ASSERT_OK(PutOne(*store, Table::kCatalog, "usable", "again"));
    } else {
      ASSERT_EQ(found, first);  // recovery does not change what it recovered
      ASSERT_THAT(store->Get(Table::kCatalog, "usable"), IsOkAndHolds(Optional(Eq("again"))));
    }
  }
}

TEST(RowStoreCrash, NoCutPointLosesASyncedWriteOrHalvesAnother) {
  std::mt19937_64 rng(TestSeed());
  const std::vector<State> states = AllStates();
  const auto nothing = [](RowStore&, int) { return absl::OkStatus(); };
  int64_t cut = 0;
  for (bool through = false; !through; ++cut) {
    for (const Tear tear : kTears) {
      SCOPED_TRACE(TraceOf(cut, tear));
      FaultFs fs;
      fs.FailFrom(cut);
      Progress progress = RunWorkload(fs, nothing);
      through = progress.durable == kWrites - 1 && fs.operations() <= cut;
      PowerCut(fs, tear, std::move(progress.store));
      ExpectPromisesKept(fs, states, progress, rng);
      ASSERT_FALSE(testing::Test::HasFailure());
    }
  }
  EXPECT_GT(cut, 2 * kWrites);
}

// With flushes and new logs between the writes. RocksDB takes a second to give a failed flush up,
// so this looks at some cut points only.
TEST(RowStoreCrash, CutPointsAroundFlushes) {
  std::mt19937_64 rng(TestSeed());
  const std::vector<State> states = AllStates();
  const auto flush = [](RowStore& store, int i) {
    return i % 5 == 4 ? store.Flush() : absl::OkStatus();
  };
  int64_t operations = 0;
  {
    FaultFs fs;
    const Progress progress = RunWorkload(fs, flush);
    ASSERT_EQ(progress.begun, kWrites);
    operations = fs.operations();
  }
  for (int i = 0; i < 8; ++i) {
    const auto cut = static_cast<int64_t>(rng() % static_cast<uint64_t>(operations));
    const Tear tear = kTears[rng() % kTears.size()];
    SCOPED_TRACE(TraceOf(cut, tear));
    FaultFs fs;
    fs.FailFrom(cut);
    Progress progress = RunWorkload(fs, flush);
    PowerCut(fs, tear, std::move(progress.store));
    ExpectPromisesKept(fs, states, progress, rng);
    ASSERT_FALSE(testing::Test::HasFailure());
  }
}

// kill -9 at a random moment loses nothing at all of what was answered.
TEST(RowStoreCrash, AKilledProcessKeepsBufferedWrites) {
  const std::vector<State> states = AllStates();
  for (int writes = 0; writes <= kWrites; ++writes) {
    FaultFs fs;
    Progress progress = RunWorkload(fs, [&](RowStore&, int i) {
      return i + 1 == writes ? absl::CancelledError() : absl::OkStatus();
    });
    fs.FailFrom(fs.operations());
    progress.store.reset();
    fs.KillProcess();
    const std::unique_ptr<RowStore> store = MustOpen(fs, kDir);
    ASSERT_EQ(StateOf(*store), states[static_cast<size_t>(progress.begun)]);
  }
}

// Space runs out at the n-th append to a file of each kind, and comes back later.
TEST(RowStoreCrash, NoSpaceIsAnAnswerAndTheStoreIsUsableWhenThereIsSpace) {
  const std::vector<State> states = AllStates();
  for (const char* part : {".log", ".sst", "MANIFEST"}) {
    for (const int skip : {0, 1, 4}) {
      SCOPED_TRACE(absl::StrCat(part, " after ", skip, " appends"));
      FaultFs fs;
      std::unique_ptr<RowStore> store = MustOpen(fs, kDir);
      fs.AddRule(
          {.op = FaultOp::kAppend, .path_part = part, .kind = FaultKind::kNoSpace, .skip = skip});
      int done = 0;
      absl::Status status;
      while (status.ok() && done < kWrites) {
        status = store->Write(Change(done), DurabilityOf(done));
        done += status.ok() ? 1 : 0;
        if (status.ok() && done % 3 == 0) {
          status = store->Flush();
        }
      }
      const State& want = states[static_cast<size_t>(done)];
      ASSERT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
      for (int i = 0; i < 3; ++i) {
        ASSERT_THAT(PutOne(*store, Table::kIds, "x", ""),
                    StatusIs(absl::StatusCode::kResourceExhausted));
      }
      ASSERT_EQ(StateOf(*store), want);

      fs.ClearRules();
      ASSERT_OK(PutOne(*store, Table::kCatalog, "more", "space"));
      ASSERT_OK(store->Flush());
      ASSERT_OK(PutOne(*store, Table::kCatalog, "still", "more"));
      for (int open = 0; open < 2; ++open) {
        EXPECT_EQ(StateOf(*store), want);
        EXPECT_THAT(Rows(*store, Table::kCatalog),
                    ElementsAre(Pair("more", "space"), Pair("still", "more")));
        store.reset();
        store = MustOpen(fs, kDir);
        ASSERT_NE(store, nullptr);
      }
    }
  }
}

// What was read before the store put itself right can be read on.
TEST(RowStoreCrash, SnapshotsAndIteratorsOutliveARecovery) {
  FaultFs fs;
  std::unique_ptr<RowStore> store = MustOpen(fs, kDir);
  ASSERT_OK(PutOne(*store, Table::kPoints, "a", "1"));
  ASSERT_OK(store->Flush());
  ASSERT_OK(PutOne(*store, Table::kPoints, "b", "2"));
  const std::shared_ptr<const RowSnapshot> snapshot = store->Snapshot();
  const std::unique_ptr<RowIterator> iterator = store->NewIterator(Table::kPoints, "");
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<BulkWriter> bulk, store->NewBulkWriter());
  ASSERT_OK(bulk->Put(Table::kPoints, "bulk", ""));
  fs.AddRule({.op = FaultOp::kAppend, .path_part = ".log", .kind = FaultKind::kNoSpace});
  ASSERT_THAT(PutOne(*store, Table::kPoints, "c", "3"),
              StatusIs(absl::StatusCode::kResourceExhausted));
  fs.ClearRules();
  for (int i = 0; i < 100; ++i) {  // files come and go
    ASSERT_OK(PutOne(*store, Table::kPoints, "a", absl::StrCat("new", i)));
    ASSERT_OK(i % 10 == 9 ? store->Flush() : absl::OkStatus());
  }
  EXPECT_THAT(Rows(*store, Table::kPoints, "", snapshot.get()),
              ElementsAre(Pair("a", "1"), Pair("b", "2")));
  EXPECT_THAT(store->Get(Table::kPoints, "a", snapshot.get()), IsOkAndHolds(Optional(Eq("1"))));
  ASSERT_TRUE(iterator->Valid());
  EXPECT_EQ(iterator->key(), "a");
  iterator->Next();
  ASSERT_TRUE(iterator->Valid());
  EXPECT_EQ(iterator->value(), "2");
  // A bulk load that was begun before has to be begun again.
  EXPECT_THAT(bulk->Commit(), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Rows(*store, Table::kPoints), ElementsAre(Pair("a", "new99"), Pair("b", "2")));
}

TEST(RowStoreCrash, AFullDiskIsNotTriedOverAndOver) {
  FaultFs fs;
  std::unique_ptr<RowStore> store = MustOpen(fs, kDir);
  fs.AddRule({.op = FaultOp::kAppend, .kind = FaultKind::kNoSpace});
  ASSERT_THAT(PutOne(*store, Table::kPoints, "a", ""),
              StatusIs(absl::StatusCode::kResourceExhausted));
  fs.ClearRules();
  fs.SetFreeBytes(100'000);
  const int64_t operations = fs.operations();
  ASSERT_THAT(PutOne(*store, Table::kPoints, "a", ""),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("free, now it has 100000")));
  EXPECT_EQ(fs.operations(), operations);
  fs.SetFreeBytes(kSmallRowStore.write_buffer_bytes + 1'000'000);
  EXPECT_OK(PutOne(*store, Table::kPoints, "a", ""));
}

// What is left of a disk may be less than the write buffers: it is enough for the rows there are.
TEST(RowStoreCrash, ADiskThatIsNearlyFullTakesWritesAgain) {
  FaultFs fs;
  std::unique_ptr<RowStore> store = MustOpen(fs, kDir);
  ASSERT_OK(PutOne(*store, Table::kPoints, "a", std::string(100'000, 'a')));
  fs.AddRule({.op = FaultOp::kAppend, .path_part = ".sst", .kind = FaultKind::kNoSpace});
  ASSERT_THAT(store->Flush(), StatusIs(absl::StatusCode::kResourceExhausted));
  fs.ClearRules();
  fs.SetFreeBytes(300'000);  // rows and what opening needs besides do not fit
  ASSERT_THAT(PutOne(*store, Table::kPoints, "b", ""),
              StatusIs(absl::StatusCode::kResourceExhausted));
  fs.SetFreeBytes(400'000);
  ASSERT_OK(PutOne(*store, Table::kPoints, "b", ""));
  store.reset();
  store = MustOpen(fs, kDir);
  EXPECT_THAT(Rows(*store, Table::kPoints),
              ElementsAre(Pair("a", std::string(100'000, 'a')), Pair("b", "")));
}

// After a failed sync nobody knows what is on the disk: only opening again looks.
TEST(RowStoreCrash, AFailedSyncNeedsAnOpen) {
  for (const FaultKind kind : {FaultKind::kIoError, FaultKind::kNoSpace}) {
    FaultFs fs;
    std::unique_ptr<RowStore> store = MustOpen(fs, kDir);
    ASSERT_OK(PutOne(*store, Table::kPoints, "a", ""));
    fs.AddRule({.op = FaultOp::kSync, .path_part = ".log", .kind = kind});
    const absl::StatusCode code = kind == FaultKind::kNoSpace ? absl::StatusCode::kResourceExhausted
                                                              : absl::StatusCode::kDataLoss;
    ASSERT_THAT(PutOne(*store, Table::kPoints, "b", ""), StatusIs(code));
    fs.ClearRules();
    ASSERT_THAT(PutOne(*store, Table::kPoints, "c", ""), StatusIs(code, HasSubstr("again")));
    ASSERT_THAT(store->Flush(), StatusIs(code, HasSubstr("again")));
    EXPECT_THAT(Rows(*store, Table::kPoints), ElementsAre(Pair("a", "")));
    store.reset();
    store = MustOpen(fs, kDir);
    ASSERT_NE(store, nullptr);
    ASSERT_OK(PutOne(*store, Table::kPoints, "c", ""));
    EXPECT_THAT(Rows(*store, Table::kPoints),
                testing::AnyOf(ElementsAre(Pair("a", ""), Pair("c", "")),
                               ElementsAre(Pair("a", ""), Pair("b", ""), Pair("c", ""))));
  }
}

// Writers that are in RocksDB's queue while the log breaks.
TEST(RowStoreCrash, NoSpaceUnderConcurrentWriters) {
  FaultFs fs;
  std::unique_ptr<RowStore> store = MustOpen(fs, kDir);
  std::atomic<bool> stop{false};
  std::array<std::set<std::string>, 4> written;
  std::vector<std::thread> writers;
  for (size_t w = 0; w < written.size(); ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; !stop; ++i) {
        const std::string key = absl::StrCat(w, ".", i);
        const absl::Status status =
            PutOne(*store, Table::kPoints, key, key,
                   i % 3 == 0 ? Durability::kSynced : Durability::kBuffered);
        if (status.ok()) {
          written[w].insert(key);
        } else {
          EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
        }
        if (i % 50 == 0 && !store->Flush().ok()) {
          std::this_thread::yield();
        }
      }
    });
  }
  for (int round = 0; round < 30; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    fs.AddRule({.op = FaultOp::kAppend,
                .path_part = round % 4 == 0 ? "MANIFEST" : ".log",
                .kind = FaultKind::kNoSpace});
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    fs.ClearRules();
  }
  stop = true;
  for (std::thread& writer : writers) {
    writer.join();
  }
  std::set<std::string> want;
  for (const std::set<std::string>& keys : written) {
    want.insert(keys.begin(), keys.end());
  }
  for (int open = 0; open < 2; ++open) {
    std::set<std::string> found;
    for (const auto& [key, value] : Rows(*store, Table::kPoints)) {
      found.insert(key);
    }
    EXPECT_EQ(found, want);
    store.reset();
    store = MustOpen(fs, kDir);
  }
}

}  // namespace
}  // namespace tessera::storage
