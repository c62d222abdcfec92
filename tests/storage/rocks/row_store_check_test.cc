// What an open makes of a directory that lacks something, and opening one for reading only.
#include "storage/rocks/row_store_check.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "storage/bulk_writer.h"
#include "storage/rocks/sync_ledger.h"
#include "storage/row_store.h"
#include "tests/storage/rows.h"
#include "tests/support/fault_fs.h"
#include "tests/support/fs_image.h"
#include "tests/support/status_matchers.h"

namespace tessera::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr char kDir[] = "/rows";

RowStoreOptions ReadOnly() {
  RowStoreOptions options = kSmallRowStore;
  options.read_only = true;
  return options;
}

// A row in a table file, one in the log.
FsImage Build(bool killed) {
  FaultFs fs;
  std::unique_ptr<RowStore> store = MustOpen(fs, kDir);
  EXPECT_OK(PutOne(*store, Table::kPoints, "a", "1"));
  EXPECT_OK(store->Flush());
  EXPECT_OK(PutOne(*store, Table::kPoints, "b", "2"));
  if (killed) fs.FailFrom(fs.operations());
  store.reset();
  if (killed) fs.KillProcess();
  return Capture(fs);
}

std::string PathIn(const FsImage& image, const std::string& part) {
  std::string found;
  for (const auto& [path, bytes] : image) {
    if (path.find(part) != std::string::npos) found = path;
  }
  return found;
}

TEST(RowStoreCheck, TheMessageNamesTheFileAndWhatToDo) {
  for (const bool killed : {false, true}) {
    const FsImage image = Build(killed);
    for (const char* part : {"CURRENT", "MANIFEST", ".log", ".sst"}) {
      const std::string path = PathIn(image, part);
      FsImage damaged = image;
      damaged.erase(path);
      const auto fs = Restore(damaged);
      const auto store = RowStore::Open(*fs, kDir, kSmallRowStore);
      ASSERT_THAT(store, StatusIs(absl::StatusCode::kDataLoss));
      const std::string number = std::string(part) == ".log" ? "log" : path.substr(6, 6);
      EXPECT_THAT(std::string(store.status().message()), HasSubstr(number));
    }
  }
}

// Cut at every byte: what was synced must be there, byte for byte.
TEST(RowStoreCheck, ManifestsAndLogsAreWholeOrRefused) {
  const FsImage image = Build(/*killed=*/true);
  for (const char* part : {"MANIFEST", ".log"}) {
    const std::string path = PathIn(image, part);
    const auto fs = Restore(image);
    const LedgerState ledger = *ReadLedger(*fs, LedgerPath(kDir));
    EXPECT_OK(ExamineRowStore(*fs, kDir, ledger));
    // What the killed process was about to write may follow.
    const uint64_t synced =
        path.ends_with(".log") ? ledger.logs.at(*WalNumber(path)) : ledger.manifest->bytes;
    EXPECT_GT(synced, 0);
    for (size_t length = 0; length < synced; ++length) {
      PutFile(*fs, path, image.at(path).substr(0, length));
      ASSERT_THAT(ExamineRowStore(*fs, kDir, ledger), StatusIs(absl::StatusCode::kDataLoss))
          << path << " cut at " << length;
    }
  }
}

TEST(RowStoreCheck, AnOlderManifestIsRefused) {
  FsImage image = Build(/*killed=*/false);
  const auto fs = Restore(image);
  {
    const auto store = MustOpen(*fs, kDir);
  }
  FsImage later = Capture(*fs);
  const std::string older = PathIn(image, "MANIFEST");
  ASSERT_NE(PathIn(later, "MANIFEST"), older);
  later[older] = image[older];
  later["/rows/CURRENT"] = image["/rows/CURRENT"];
  const auto mixed = Restore(later);
  EXPECT_THAT(RowStore::Open(*mixed, kDir, kSmallRowStore),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("was in use already")));
}

TEST(RowStoreCheck, WithoutTheLedgerAWholeDirectoryOpens) {
  for (const bool killed : {false, true}) {
    FsImage image = Build(killed);
    image.erase(LedgerPath(kDir));
    const auto fs = Restore(image);
    const auto store = MustOpen(*fs, kDir);
    EXPECT_THAT(Rows(*store, Table::kPoints), ElementsAre(Pair("a", "1"), Pair("b", "2")));
  }
}

// A log that a killed process left, in a directory that it had not synced, is durable once the next
// open says so: a power cut in the middle of that open must not make it a lost one.
TEST(RowStoreCheck, APowerCutDuringTheOpenAfterAKillIsNoLoss) {
  for (const Tear tear : {Tear::kNothing, Tear::kUnsyncedTail, Tear::kHalfOfLastWrite}) {
    for (int64_t cut = 0; cut < 80; ++cut) {
      FaultFs fs;
      std::unique_ptr<RowStore> store = MustOpen(fs, kDir);
      EXPECT_OK(PutOne(*store, Table::kPoints, "a", "1"));
      EXPECT_OK(store->Flush());
      // Behind the flush there is a log whose name nobody has synced.
      EXPECT_OK(PutOne(*store, Table::kPoints, "b", "2", Durability::kBuffered));
      fs.FailFrom(fs.operations());
      store.reset();
      fs.KillProcess();
      fs.FailFrom(cut);
      auto cut_short = RowStore::Open(fs, kDir, kSmallRowStore);
      PowerCut(fs, tear, cut_short.ok() ? *std::move(cut_short) : nullptr);
      const auto again = RowStore::Open(fs, kDir, kSmallRowStore);
      ASSERT_TRUE(again.ok()) << again.status() << ", cut before operation " << cut;
      EXPECT_THAT((*again)->Get(Table::kPoints, "a"),
                  IsOkAndHolds(testing::Optional(testing::Eq("1"))));
    }
  }
}

// An operator who has no copy goes on with what is left.
TEST(RowStoreCheck, WithoutTheLedgerWhatIsLeftOpens) {
  FsImage image = Build(/*killed=*/true);
  image.erase(PathIn(image, ".log"));
  image.erase(LedgerPath(kDir));
  const auto fs = Restore(image);
  const auto store = MustOpen(*fs, kDir);
  EXPECT_THAT(Rows(*store, Table::kPoints), ElementsAre(Pair("a", "1")));
}

TEST(RowStoreCheck, CreationThatWasCutShortIsNoLoss) {
  FaultFs fs;
  EXPECT_THAT(RowStoreExists(fs, kDir, {}), IsOkAndHolds(false));
  PutFile(fs, "/rows/MANIFEST-000001", "");
  EXPECT_THAT(RowStoreExists(fs, kDir, {}), IsOkAndHolds(false));
  PutFile(fs, "/rows/000004.log", "");
  EXPECT_THAT(RowStoreExists(fs, kDir, {}), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(RowStoreReadOnly, SeesEverythingAndChangesNothing) {
  for (const bool killed : {false, true}) {
    const FsImage image = Build(killed);
    const auto fs = Restore(image);
    fs->SetReadOnly(true);
    {
      ASSERT_OK_AND_ASSIGN(const auto store, RowStore::Open(*fs, kDir, ReadOnly()));
      ASSERT_OK_AND_ASSIGN(const auto second, RowStore::Open(*fs, kDir, ReadOnly()));
      EXPECT_THAT(Rows(*store, Table::kPoints), ElementsAre(Pair("a", "1"), Pair("b", "2")));
      EXPECT_THAT(PutOne(*store, Table::kPoints, "c", ""),
                  StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("reading only")));
      EXPECT_THAT(store->Flush(), StatusIs(absl::StatusCode::kFailedPrecondition));
      EXPECT_THAT(store->NewBulkWriter(), StatusIs(absl::StatusCode::kFailedPrecondition));
    }
    EXPECT_EQ(Capture(*fs), image);
    fs->SetReadOnly(false);
    const auto store = MustOpen(*fs, kDir);
    EXPECT_OK(PutOne(*store, Table::kPoints, "c", ""));
  }
}

// What a power cut has torn is passed over where it cannot be cut off.
TEST(RowStoreReadOnly, PassesATornTailOver) {
  FsImage image = Build(/*killed=*/true);
  const std::string log = PathIn(image, ".log");
  image[log] += std::string(100, 'x');
  image["/rows/999999.log"] = std::string(20, 'y');
  const auto fs = Restore(image);
  fs->SetReadOnly(true);
  ASSERT_OK_AND_ASSIGN(const auto store, RowStore::Open(*fs, kDir, ReadOnly()));
  EXPECT_THAT(Rows(*store, Table::kPoints), ElementsAre(Pair("a", "1"), Pair("b", "2")));
  EXPECT_EQ(Capture(*fs), image);
}

// A directory that belongs to somebody else, in one that does not; files in it may be writable.
TEST(RowStoreReadOnly, IsOfferedWhereOnlyTheDirectoryCannotBeWrittenTo) {
  for (const bool killed : {false, true}) {
    for (const char* part : {"/rows/MANIFEST", "/rows/"}) {
      const auto fs = Restore(Build(killed));
      for (const FaultOp op : {FaultOp::kOpenForWrite, FaultOp::kCreateDirectory,
                               FaultOp::kRemoveFile, FaultOp::kRename, FaultOp::kLink}) {
        fs->AddRule({.op = op, .path_part = part, .kind = FaultKind::kDenied});
      }
      EXPECT_THAT(RowStore::Open(*fs, kDir, kSmallRowStore),
                  StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("/rows/")));
      const FsImage left = Capture(*fs);
      {
        ASSERT_OK_AND_ASSIGN(const auto store, RowStore::Open(*fs, kDir, ReadOnly()));
        EXPECT_THAT(Rows(*store, Table::kPoints), ElementsAre(Pair("a", "1"), Pair("b", "2")));
      }
      EXPECT_EQ(Capture(*fs), left);
    }
  }
}

TEST(RowStoreReadOnly, KeepsWritersOutAndIsKeptOut) {
  const auto fs = Restore(Build(/*killed=*/false));
  {
    const auto writer = MustOpen(*fs, kDir);
    EXPECT_THAT(RowStore::Open(*fs, kDir, ReadOnly()),
                StatusIs(absl::StatusCode::kFailedPrecondition));
  }
  ASSERT_OK_AND_ASSIGN(const auto reader, RowStore::Open(*fs, kDir, ReadOnly()));
  EXPECT_THAT(RowStore::Open(*fs, kDir, kSmallRowStore),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(RowStoreReadOnly, NeedsNoLockFileAndCreatesNoStore) {
  FsImage image = Build(/*killed=*/false);
  image.erase("/rows/LOCK");
  const auto fs = Restore(image);
  EXPECT_OK(RowStore::Open(*fs, kDir, ReadOnly()));
  EXPECT_EQ(Capture(*fs), image);
  FaultFs empty;
  EXPECT_THAT(RowStore::Open(empty, kDir, ReadOnly()), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_TRUE(empty.Files().empty());
}

}  // namespace
}  // namespace tessera::storage
