#include "storage/bulk_writer.h"

#include <array>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/files/file_system.h"
#include "base/status_macros.h"
#include "tests/storage/rows.h"
#include "tests/support/fault_fs.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace tessera::storage {
namespace {

using testing::AnyOf;
using testing::ElementsAre;
using testing::Eq;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Optional;
using testing::Pair;

std::string Key(int i) {
  return absl::StrFormat("k%05d", i);
}

TEST(BulkWriter, RowsOfAllTablesAppearTogetherAtCommit) {
  const TempDir dir;
  std::unique_ptr<RowStore> store = MustOpen(base::PosixFileSystem(), dir.File("rows"));
  ASSERT_OK(PutOne(*store, Table::kPoints, "k00005", "before"));
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<BulkWriter> bulk, store->NewBulkWriter());
  for (int i = 0; i < 1000; ++i) {
    const std::string key = absl::StrFormat("k%05d", i);
    ASSERT_OK(bulk->Put(Table::kPoints, key, "bulk"));
    ASSERT_OK(bulk->Put(Table::kIds, key, "bulk"));
  }
  EXPECT_EQ(bulk->row_count(), 2000U);
  EXPECT_THAT(bulk->Put(Table::kIds, "k00999", ""), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Rows(*store, Table::kPoints, "").size(), 1U);
  EXPECT_THAT(Rows(*store, Table::kIds, ""), IsEmpty());
  std::shared_ptr<const RowSnapshot> before = store->Snapshot();
  ASSERT_OK(bulk->Commit());
  EXPECT_THAT(bulk->Commit(), StatusIs(absl::StatusCode::kFailedPrecondition));
  bulk.reset();
  EXPECT_THAT(Rows(*store, Table::kPoints, "", before.get()),
              ElementsAre(Pair("k00005", "before")));
  before.reset();
  ASSERT_OK(PutOne(*store, Table::kPoints, "k00006", "after"));
  for (int open = 0; open < 2; ++open) {
    EXPECT_EQ(Rows(*store, Table::kPoints).size(), 1000U);
    EXPECT_EQ(Rows(*store, Table::kIds).size(), 1000U);
    EXPECT_THAT(store->Get(Table::kPoints, "k00005"), IsOkAndHolds(Optional(Eq("bulk"))));
    EXPECT_THAT(store->Get(Table::kPoints, "k00006"), IsOkAndHolds(Optional(Eq("after"))));
    store.reset();
    store = MustOpen(base::PosixFileSystem(), dir.File("rows"));
    ASSERT_NE(store, nullptr);
  }
}

TEST(BulkWriter, DroppedWriterLeavesNothing) {
  const TempDir dir;
  std::unique_ptr<RowStore> store = MustOpen(base::PosixFileSystem(), dir.File("rows"));
  {
    ASSERT_OK_AND_ASSIGN(std::unique_ptr<BulkWriter> bulk, store->NewBulkWriter());
    ASSERT_OK(bulk->Put(Table::kPoints, "a", "1"));
  }
  EXPECT_THAT(Rows(*store, Table::kPoints, ""), IsEmpty());
  EXPECT_THAT(base::PosixFileSystem().List(dir.File("rows/bulk")), IsOkAndHolds(IsEmpty()));
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<BulkWriter> empty, store->NewBulkWriter());
  EXPECT_OK(empty->Commit());
}

TEST(BulkWriter, ReplacesAndDeletesInOneStep) {
  const TempDir dir;
  std::unique_ptr<RowStore> store = MustOpen(base::PosixFileSystem(), dir.File("rows"));
  WriteSet flushed;
  for (int i = 0; i < 100; ++i) {
    flushed.Put(Table::kPoints, Key(i), "old");
  }
  ASSERT_OK(store->Write(flushed, Durability::kSynced));
  ASSERT_OK(store->Flush());
  WriteSet buffered;
  for (int i = 50; i < 150; ++i) {
    buffered.Put(Table::kPoints, Key(i), "newer");
    buffered.Put(Table::kIds, Key(i), "newer");
  }
  ASSERT_OK(store->Write(buffered, Durability::kBuffered));

  // In kPoints every third row goes, every third is replaced; in kIds all rows go.
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<BulkWriter> bulk, store->NewBulkWriter());
  RowList want;
  for (int i = 0; i < 200; ++i) {
    if (i % 3 == 0) {
      ASSERT_OK(bulk->Delete(Table::kPoints, Key(i)));
    } else if (i % 3 == 1) {
      ASSERT_OK(bulk->Put(Table::kPoints, Key(i), "bulk"));
      want.emplace_back(Key(i), "bulk");
    } else if (i < 150) {
      want.emplace_back(Key(i), i < 50 ? "old" : "newer");
    }
    ASSERT_OK(bulk->Delete(Table::kIds, Key(i)));
  }
  EXPECT_EQ(bulk->row_count(), 67U + 67 + 200);
  const RowList before = Rows(*store, Table::kPoints);
  EXPECT_EQ(before.size(), 150U);
  std::shared_ptr<const RowSnapshot> snapshot = store->Snapshot();
  ASSERT_OK(bulk->Commit());
  bulk.reset();

  EXPECT_EQ(Rows(*store, Table::kPoints), want);
  EXPECT_THAT(Rows(*store, Table::kIds), IsEmpty());
  EXPECT_THAT(store->Get(Table::kPoints, Key(99)), IsOkAndHolds(Eq(std::nullopt)));
  EXPECT_EQ(Rows(*store, Table::kPoints, "", snapshot.get()), before);
  EXPECT_EQ(Rows(*store, Table::kIds, "", snapshot.get()).size(), 100U);

  snapshot.reset();

  // A deleted key can be written again, and stays through reopening.
  ASSERT_OK(PutOne(*store, Table::kIds, Key(60), "again"));
  for (int open = 0; open < 2; ++open) {
    store.reset();
    store = MustOpen(base::PosixFileSystem(), dir.File("rows"));
    ASSERT_NE(store, nullptr);
    EXPECT_EQ(Rows(*store, Table::kPoints), want);
    EXPECT_THAT(Rows(*store, Table::kIds), ElementsAre(Pair(Key(60), "again")));
  }
}

TEST(BulkWriter, PutsAndDeletionsAscendTogether) {
  const TempDir dir;
  const std::unique_ptr<RowStore> store = MustOpen(base::PosixFileSystem(), dir.File("rows"));
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<BulkWriter> bulk, store->NewBulkWriter());
  ASSERT_OK(bulk->Put(Table::kPoints, "b", "1"));
  EXPECT_THAT(bulk->Delete(Table::kPoints, "b"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(bulk->Delete(Table::kPoints, "a"), StatusIs(absl::StatusCode::kInvalidArgument));
  ASSERT_OK(bulk->Delete(Table::kPoints, "c"));
  EXPECT_THAT(bulk->Put(Table::kPoints, "c", "1"), StatusIs(absl::StatusCode::kInvalidArgument));
  ASSERT_OK(bulk->Delete(Table::kIds, "a"));  // every table has its own order
  EXPECT_THAT(bulk->Delete(Table::kIds, std::string(kKeyBytesMax + 1, 'x')),
              StatusIs(absl::StatusCode::kInvalidArgument));
  ASSERT_OK(bulk->Put(Table::kPoints, "d", "2"));  // wrong use does not spoil the writer
  ASSERT_OK(bulk->Commit());
  EXPECT_THAT(bulk->Delete(Table::kPoints, "e"), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Rows(*store, Table::kPoints), ElementsAre(Pair("b", "1"), Pair("d", "2")));
}

// Against a map, over several commits with writes between them.
TEST(BulkWriter, RandomCommitsAgreeWithAMap) {
  std::mt19937_64 rng(TestSeed());
  FaultFs fs;
  std::unique_ptr<RowStore> store = MustOpen(fs, "/rows");
  std::map<std::string, std::string> model;
  for (int round = 0; round < 30; ++round) {
    WriteSet set;
    for (int i = 0; i < 20; ++i) {
      const std::string key = Key(static_cast<int>(rng() % 300));
      set.Put(Table::kFresh, key, absl::StrCat("w", round));
      model[key] = absl::StrCat("w", round);
    }
    ASSERT_OK(store->Write(set, Durability::kBuffered));
    ASSERT_OK_AND_ASSIGN(std::unique_ptr<BulkWriter> bulk, store->NewBulkWriter());
    for (int i = 0; i < 300; ++i) {
      switch (rng() % 4) {
        case 0:
          ASSERT_OK(bulk->Put(Table::kFresh, Key(i), absl::StrCat("b", round)));
          model[Key(i)] = absl::StrCat("b", round);
          break;
        case 1:
          ASSERT_OK(bulk->Delete(Table::kFresh, Key(i)));
          model.erase(Key(i));
          break;
        default:
          break;
      }
    }
    ASSERT_OK(bulk->Commit());
    bulk.reset();
    if (rng() % 4 == 0) {
      ASSERT_OK(store->Flush());
    }
    if (rng() % 4 == 0) {
      store.reset();
      store = MustOpen(fs, "/rows");
      ASSERT_NE(store, nullptr);
    }
    ASSERT_EQ(Rows(*store, Table::kFresh), RowList(model.begin(), model.end())) << round;
  }
}

constexpr std::array kTables = {Table::kPoints, Table::kIds, Table::kFresh};
using TableRows = std::array<RowList, kTables.size()>;

TableRows AllRows(const RowStore& store) {
  TableRows all;
  for (size_t i = 0; i < kTables.size(); ++i) {
    all[i] = Rows(store, kTables[i]);
  }
  return all;
}

// Rows 0 .. 9 in every table, all but the last durable. `in_memory`: the last five are not in table
// files, so that a commit has to flush them first.
absl::Status WriteOldRows(RowStore& store, bool in_memory) {
  for (int i = 0; i < 10; ++i) {
    WriteSet set;
    for (const Table table : kTables) {
      set.Put(table, Key(i), "old");
    }
    TESSERA_RETURN_IF_ERROR(store.Write(set, i == 9 ? Durability::kBuffered : Durability::kSynced));
    if (i == 4) {
      TESSERA_RETURN_IF_ERROR(store.Flush());
    }
  }
  return in_memory ? absl::OkStatus() : store.Flush();
}

// Even rows go, odd ones are replaced, ten are new.
absl::Status ReplaceInBulk(RowStore& store) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<BulkWriter> bulk, store.NewBulkWriter());
  for (int i = 0; i < 20; ++i) {
    for (const Table table : kTables) {
      TESSERA_RETURN_IF_ERROR(i < 10 && i % 2 == 0 ? bulk->Delete(table, Key(i))
                                                   : bulk->Put(table, Key(i), "bulk"));
    }
  }
  return bulk->Commit();
}

// What a store may hold before, during and after ReplaceInBulk.
struct BulkStates {
  explicit BulkStates(bool in_memory) {
    FaultFs fs;
    const std::unique_ptr<RowStore> store = MustOpen(fs, "/rows");
    EXPECT_OK(WriteOldRows(*store, in_memory));
    old_rows = AllRows(*store);
    EXPECT_OK(ReplaceInBulk(*store));
    new_rows = AllRows(*store);
    without_last = old_rows;
    for (RowList& rows : without_last) {
      rows.pop_back();
    }
  }

  TableRows old_rows;
  TableRows without_last;  // the last old row is not promised
  TableRows new_rows;
};

// Opens what is left twice and checks that it is one of the states.
void ExpectOldOrNew(FaultFs& fs, const BulkStates& states, bool committed) {
  TableRows first;
  for (int open = 0; open < 2; ++open) {
    const std::unique_ptr<RowStore> store = MustOpen(fs, "/rows");
    ASSERT_NE(store, nullptr);
    const TableRows found = AllRows(*store);
    if (committed) {
      ASSERT_EQ(found, states.new_rows);
    } else {
      ASSERT_THAT(found, AnyOf(Eq(states.without_last), Eq(states.old_rows), Eq(states.new_rows)));
    }
    if (open == 0) {
      first = found;
      ASSERT_OK(PutOne(*store, Table::kCatalog, "usable", "again"));
    }
    EXPECT_EQ(found, first);  // recovery does not change what it recovered
  }
  for (const std::string& path : fs.Files()) {
    EXPECT_THAT(path, Not(HasSubstr("/bulk/")));
  }
}

// Cuts the power before operation `cut` of ReplaceInBulk; returns whether it was through by then.
bool CutDuringBulk(const BulkStates& states, bool in_memory, int cut, Tear tear) {
  SCOPED_TRACE(absl::StrCat("cut before operation ", cut, ", tear: ", ToString(tear).data()));
  FaultFs fs;
  std::unique_ptr<RowStore> store = MustOpen(fs, "/rows");
  EXPECT_OK(WriteOldRows(*store, in_memory));
  fs.FailFrom(fs.operations() + cut);
  const bool committed = ReplaceInBulk(*store).ok();
  EXPECT_EQ(AllRows(*store), committed ? states.new_rows : states.old_rows);
  PowerCut(fs, tear, std::move(store));
  ExpectOldOrNew(fs, states, committed);
  return committed;
}

constexpr std::array kTears = {Tear::kNothing, Tear::kUnsyncedTail, Tear::kHalfOfLastWrite};

TEST(BulkWriterCrash, EveryCutPointLeavesAllOfACommitOrNothing) {
  const BulkStates states(/*in_memory=*/false);
  int cut = 0;
  for (bool committed = false; !committed; ++cut) {
    for (const Tear tear : kTears) {
      committed = CutDuringBulk(states, /*in_memory=*/false, cut, tear);
      ASSERT_FALSE(testing::Test::HasFailure());
    }
  }
  EXPECT_GT(cut, 20) << "the workload no longer reaches the commit's steps";
}

// RocksDB takes a second to give a failed flush up, so this looks at a few cut points only.
TEST(BulkWriterCrash, CutPointsOfACommitThatFlushesFirst) {
  std::mt19937_64 rng(TestSeed());
  const BulkStates states(/*in_memory=*/true);
  for (int i = 0; i < 5; ++i) {
    CutDuringBulk(states, /*in_memory=*/true, static_cast<int>(rng() % 60), kTears[rng() % 3]);
  }
}

// One operation fails, nothing else does, and the process is killed or the store closed.
TEST(BulkWriterCrash, EveryFailedOperationLeavesAllOfACommitOrNothing) {
  const BulkStates states(/*in_memory=*/false);
  int failures = 0;
  for (const FaultOp op : {FaultOp::kOpenForWrite, FaultOp::kAppend, FaultOp::kSync, FaultOp::kLink,
                           FaultOp::kSyncDirectory, FaultOp::kCreateDirectory}) {
    for (const FaultKind kind : {FaultKind::kIoError, FaultKind::kNoSpace}) {
      // Some operations may fail without harm, so the first commit is not the end.
      int commits = 0;
      for (int skip = 0; commits < 3; ++skip) {
        SCOPED_TRACE(absl::StrCat("operation of kind ", static_cast<int>(op), " number ", skip,
                                  kind == FaultKind::kNoSpace ? ", no space" : ""));
        FaultFs fs;
        std::unique_ptr<RowStore> store = MustOpen(fs, "/rows");
        ASSERT_OK(WriteOldRows(*store, /*in_memory=*/false));
        fs.AddRule({.op = op, .kind = kind, .skip = skip, .count = 1});
        const absl::Status status = ReplaceInBulk(*store);
        fs.ClearRules();
        const bool committed = status.ok();
        commits += committed ? 1 : 0;
        failures += committed ? 0 : 1;
        ASSERT_EQ(AllRows(*store), committed ? states.new_rows : states.old_rows) << status;
        if (kind == FaultKind::kNoSpace && !committed) {
          EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
        }
        if (skip % 2 == 0) {
          fs.FailFrom(fs.operations());
          store.reset();
          fs.KillProcess();
        } else {
          store.reset();
        }
        ExpectOldOrNew(fs, states, committed);
        ASSERT_FALSE(testing::Test::HasFailure());
      }
    }
  }
  EXPECT_GT(failures, 30);
}

TEST(BulkWriterCrash, NoSpaceIsAnAnswerAndTheNextLoadSucceeds) {
  const BulkStates states(/*in_memory=*/false);
  for (int skip = 0;; ++skip) {
    SCOPED_TRACE(skip);
    FaultFs fs;
    std::unique_ptr<RowStore> store = MustOpen(fs, "/rows");
    ASSERT_OK(WriteOldRows(*store, /*in_memory=*/false));
    fs.AddRule(
        {.op = FaultOp::kAppend, .path_part = "/bulk/", .kind = FaultKind::kNoSpace, .skip = skip});
    const absl::Status status = ReplaceInBulk(*store);
    if (status.ok()) {
      EXPECT_GE(skip, 3);
      return;
    }
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
    EXPECT_EQ(AllRows(*store), states.old_rows);
    fs.ClearRules();
    ASSERT_OK(ReplaceInBulk(*store));
    EXPECT_EQ(AllRows(*store), states.new_rows);
  }
}

TEST(BulkWriterCrash, AfterAFailureCommitAnswersIt) {
  FaultFs fs;
  const std::unique_ptr<RowStore> store = MustOpen(fs, "/rows");
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<BulkWriter> bulk, store->NewBulkWriter());
  ASSERT_OK(bulk->Put(Table::kPoints, "a", "1"));
  fs.AddRule({.op = FaultOp::kOpenForWrite, .path_part = "/bulk/", .count = 1});
  EXPECT_THAT(bulk->Put(Table::kIds, "a", "1"), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(bulk->Put(Table::kIds, "a", "1"), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(bulk->Commit(), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Rows(*store, Table::kPoints), IsEmpty());
}

}  // namespace
}  // namespace tessera::storage
