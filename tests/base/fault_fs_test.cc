#include "tests/support/fault_fs.h"

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "tests/support/status_matchers.h"

namespace tessera::inline test {
namespace {

using base::FileSystem;
using base::WritableFile;
using base::WriteMode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::span<const std::byte> Bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string Read(FaultFs& fs, const std::string& path) {
  const auto file = fs.OpenForRead(path, {});
  if (!file.ok()) return absl::StrCat("<", absl::StatusCodeToString(file.status().code()), ">");
  std::string text(*(*file)->Size(), '\0');
  const auto got = (*file)->Read(0, std::as_writable_bytes(std::span(text)));
  if (!got.ok()) return absl::StrCat("<", absl::StatusCodeToString(got.status().code()), ">");
  text.resize(*got);
  return text;
}

std::unique_ptr<WritableFile> Open(FaultFs& fs, const std::string& path,
                                   WriteMode mode = WriteMode::kAppend) {
  auto file = fs.OpenForWrite(path, mode);
  EXPECT_OK(file.status());
  return *std::move(file);
}

// A file whose bytes and name are on the disk.
void WriteDurably(FaultFs& fs, const std::string& path, std::string_view text) {
  const auto file = Open(fs, path, WriteMode::kTruncate);
  EXPECT_OK(file->Append(Bytes(text)));
  EXPECT_OK(file->Sync());
  EXPECT_OK(fs.SyncDirectory("/"));
}

TEST(FaultFs, ACutTakesUnsyncedBytesAndLeavesSyncedOnes) {
  FaultFs fs;
  WriteDurably(fs, "/f", "synced");
  const auto file = Open(fs, "/f");
  ASSERT_OK(file->Append(Bytes(" flushed")));
  ASSERT_OK(file->Flush());
  EXPECT_EQ(Read(fs, "/f"), "synced flushed");
  fs.CutPower(Tear::kNothing);
  EXPECT_EQ(Read(fs, "/f"), "synced");
}

TEST(FaultFs, AppendedBytesCanBeReadAfterAFlushOnly) {
  FaultFs fs;
  const auto file = Open(fs, "/f");
  ASSERT_OK(file->Append(Bytes("abc")));
  EXPECT_EQ(Read(fs, "/f"), "");
  EXPECT_THAT(fs.FileSize("/f"), IsOkAndHolds(0U));
  EXPECT_EQ(file->size(), 3U);
  ASSERT_OK(file->Flush());
  EXPECT_EQ(Read(fs, "/f"), "abc");
}

TEST(FaultFs, ANewNameNeedsADirectorySync) {
  FaultFs fs;
  {
    const auto file = Open(fs, "/f");
    ASSERT_OK(file->Append(Bytes("synced")));
    ASSERT_OK(file->Sync());
  }
  fs.CutPower(Tear::kNothing);
  EXPECT_THAT(fs.Files(), IsEmpty()) << "a file's own sync says nothing about its name";
}

TEST(FaultFs, ANewDirectoryNeedsASyncOfItsParent) {
  FaultFs fs;
  for (const bool sync_parent : {false, true}) {
    ASSERT_OK(fs.CreateDirectory("/d"));
    {
      const auto file = Open(fs, "/d/f");
      ASSERT_OK(file->Append(Bytes("x")));
      ASSERT_OK(file->Sync());
    }
    ASSERT_OK(fs.SyncDirectory("/d"));
    if (sync_parent) {
      ASSERT_OK(fs.SyncDirectory("/"));
    }
    fs.CutPower(Tear::kNothing);
    EXPECT_EQ(Read(fs, "/d/f"), sync_parent ? "x" : "<NOT_FOUND>");
  }
}

TEST(FaultFs, ARemovedFileIsBackUntilItsDirectoryIsSynced) {
  FaultFs fs;
  WriteDurably(fs, "/f", "old");
  ASSERT_OK(fs.RemoveFile("/f"));
  fs.CutPower(Tear::kNothing);
  EXPECT_EQ(Read(fs, "/f"), "old");
  ASSERT_OK(fs.RemoveFile("/f"));
  ASSERT_OK(fs.SyncDirectory("/"));
  fs.CutPower(Tear::kNothing);
  EXPECT_EQ(Read(fs, "/f"), "<NOT_FOUND>");
}

TEST(FaultFs, ARenameIsWholeOrNotAtAll) {
  for (const Tear tear : {Tear::kNothing, Tear::kUnsyncedTail, Tear::kHalfOfLastWrite}) {
    std::set<std::string> seen;
    for (uint64_t seed = 0; seed < 40; ++seed) {
      FaultFs fs(seed);
      ASSERT_OK(fs.CreateDirectory("/d"));
      WriteDurably(fs, "/CURRENT", "old");
      WriteDurably(fs, "/d/tmp", "new");
      ASSERT_OK(fs.SyncDirectory("/d"));
      ASSERT_OK(fs.Rename("/d/tmp", "/CURRENT"));
      fs.CutPower(tear);
      const std::string now = Read(fs, "/CURRENT") + Read(fs, "/d/tmp");
      EXPECT_THAT(now, testing::AnyOf("oldnew", "new<NOT_FOUND>"));
      seen.insert(now);
    }
    EXPECT_EQ(seen.size(), tear == Tear::kUnsyncedTail ? 2U : 1U) << ToString(tear);
  }
}

TEST(FaultFs, SyncingOneSideOfARenameTakesAlongWhatCameBeforeOnTheOther) {
  FaultFs fs;
  ASSERT_OK(fs.CreateDirectory("/a"));
  ASSERT_OK(fs.CreateDirectory("/b"));
  ASSERT_OK(fs.SyncDirectory("/"));
  {
    const auto file = Open(fs, "/a/f");
  }
  {
    const auto file = Open(fs, "/b/f");
  }
  {
    const auto file = Open(fs, "/b/later");
  }
  ASSERT_OK(fs.Rename("/a/f", "/b/f"));
  {
    const auto file = Open(fs, "/a/g");
  }
  {
    const auto file = Open(fs, "/b/afterwards");
  }
  ASSERT_OK(fs.SyncDirectory("/a"));
  fs.CutPower(Tear::kNothing);
  EXPECT_THAT(fs.Files(), ElementsAre("/a/g", "/b/f", "/b/later"));
}

TEST(FaultFs, ATruncationIsNotDurableUntilSynced) {
  FaultFs fs;
  WriteDurably(fs, "/f", "0123456789");
  {
    const auto file = Open(fs, "/f");
    ASSERT_OK(file->Truncate(2));
    ASSERT_OK(file->Append(Bytes("xyz")));
    ASSERT_OK(file->Flush());
    EXPECT_EQ(Read(fs, "/f"), "01xyz");
  }
  fs.CutPower(Tear::kNothing);
  EXPECT_EQ(Read(fs, "/f"), "0123456789");
  {
    const auto file = Open(fs, "/f", WriteMode::kTruncate);
    ASSERT_OK(file->Append(Bytes("new")));
    ASSERT_OK(file->Sync());
  }
  fs.CutPower(Tear::kNothing);
  EXPECT_EQ(Read(fs, "/f"), "new");
}

TEST(FaultFs, AnUnsyncedTailLosesARandomEnd) {
  std::set<size_t> sizes;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    FaultFs fs(seed);
    WriteDurably(fs, "/f", "01234");
    const auto file = Open(fs, "/f");
    ASSERT_OK(file->Append(Bytes("5678")));
    ASSERT_OK(file->Append(Bytes("9")));
    fs.CutPower(Tear::kUnsyncedTail);
    const std::string text = Read(fs, "/f");
    EXPECT_EQ(text, std::string("0123456789").substr(0, text.size()));
    sizes.insert(text.size());
  }
  EXPECT_THAT(sizes, ElementsAre(5U, 6U, 7U, 8U, 9U, 10U));
}

TEST(FaultFs, AnUnsyncedTailMayOrMayNotTruncate) {
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    FaultFs fs(seed);
    WriteDurably(fs, "/f", "abc");
    const auto file = Open(fs, "/f", WriteMode::kTruncate);
    ASSERT_OK(file->Append(Bytes("XY")));
    fs.CutPower(Tear::kUnsyncedTail);
    seen.insert(Read(fs, "/f"));
  }
  EXPECT_THAT(seen, ElementsAre("", "X", "XY", "abc"));
}

TEST(FaultFs, HalfOfTheLastWriteTearsThatOneOnly) {
  FaultFs fs;
  const auto a = Open(fs, "/a");
  const auto b = Open(fs, "/b");
  ASSERT_OK(b->Append(Bytes("12345678")));
  ASSERT_OK(a->Append(Bytes("first ")));
  ASSERT_OK(a->Append(Bytes("second")));
  fs.CutPower(Tear::kHalfOfLastWrite);
  EXPECT_EQ(Read(fs, "/a"), "first sec");
  EXPECT_EQ(Read(fs, "/b"), "12345678");
  const auto c = Open(fs, "/c");
  ASSERT_OK(c->Append(Bytes("123456")));
  ASSERT_OK(c->Sync());
  fs.CutPower(Tear::kHalfOfLastWrite);
  EXPECT_EQ(Read(fs, "/c"), "123456") << "synced bytes are never torn";
}

TEST(FaultFs, FailFromFailsEveryCountedOperationFromThatOn) {
  FaultFs fs;
  const auto file = Open(fs, "/f");     // 0
  ASSERT_OK(file->Append(Bytes("a")));  // 1
  ASSERT_OK(file->Sync());              // 2
  ASSERT_OK(fs.SyncDirectory("/"));     // 3
  EXPECT_EQ(fs.operations(), 4);
  fs.FailFrom(5);
  ASSERT_OK(file->Append(Bytes("b")));    // 4
  EXPECT_THAT(file->Append(Bytes("cd")),  // 5
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("operation 5")));
  EXPECT_THAT(file->Sync(), StatusIs(absl::StatusCode::kDataLoss)) << "a failed file stays failed";
  EXPECT_THAT(fs.OpenForWrite("/g", WriteMode::kAppend).status(),
              StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(fs.CreateDirectory("/d"), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(fs.Rename("/f", "/h"), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(fs.Link("/f", "/h"), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(fs.RemoveFile("/f"), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(fs.SyncDirectory("/"), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(fs.Files(), ElementsAre("/f"));
  EXPECT_EQ(Read(fs, "/f"), "a") << "reads go on";

  fs.CutPower(Tear::kHalfOfLastWrite);
  EXPECT_EQ(Read(fs, "/f"), "abc") << "the append under way is half there";
  EXPECT_EQ(fs.operations(), 0);
  EXPECT_OK(fs.CreateDirectory("/d"));
}

TEST(FaultFs, ANameChangeUnderWayMayHaveHappened) {
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    FaultFs fs(seed);
    WriteDurably(fs, "/a", "x");
    fs.FailFrom(fs.operations());
    EXPECT_THAT(fs.Rename("/a", "/b"), StatusIs(absl::StatusCode::kDataLoss));
    EXPECT_THAT(fs.Rename("/a", "/c"), StatusIs(absl::StatusCode::kDataLoss));
    EXPECT_THAT(fs.Files(), ElementsAre("/a"));
    fs.CutPower(Tear::kUnsyncedTail);
    ASSERT_EQ(fs.Files().size(), 1U);
    seen.insert(fs.Files()[0]);
  }
  EXPECT_THAT(seen, ElementsAre("/a", "/b"));
}

TEST(FaultFs, RulesFailChosenOperationsOnChosenPaths) {
  FaultFs fs;
  WriteDurably(fs, "/data", "0123");
  fs.AddRule({.op = FaultOp::kRead, .path_part = "data", .skip = 1, .count = 1});
  EXPECT_EQ(Read(fs, "/data"), "0123");
  EXPECT_EQ(Read(fs, "/data"), "<DATA_LOSS>");
  EXPECT_EQ(Read(fs, "/data"), "0123");

  fs.AddRule({.op = FaultOp::kAppend, .path_part = ".log", .kind = FaultKind::kNoSpace});
  const auto other = Open(fs, "/other");
  EXPECT_OK(other->Append(Bytes("fits")));
  {
    const auto log = Open(fs, "/x.log");
    EXPECT_THAT(log->Append(Bytes("12345678")), StatusIs(absl::StatusCode::kResourceExhausted));
    EXPECT_EQ(log->size(), 4U) << "half of it was written before the disk was full";
    EXPECT_THAT(log->Flush(), StatusIs(absl::StatusCode::kResourceExhausted));
  }
  fs.ClearRules();
  const auto log = Open(fs, "/x.log", WriteMode::kTruncate);
  EXPECT_OK(log->Append(Bytes("12345678")));

  fs.AddRule({.op = FaultOp::kSync});
  EXPECT_THAT(log->Sync(), StatusIs(absl::StatusCode::kDataLoss));
  fs.AddRule({.op = FaultOp::kOpenForRead});
  EXPECT_EQ(Read(fs, "/data"), "<DATA_LOSS>");
  fs.AddRule({.op = FaultOp::kList});
  EXPECT_THAT(fs.List("/").status(), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(FaultFs, NothingChangesOnAReadOnlyFileSystem) {
  FaultFs fs;
  ASSERT_OK(fs.OpenForWrite("/f", base::WriteMode::kTruncate).status());
  ASSERT_OK(fs.Lock("/LOCK").status());
  fs.SetReadOnly(true);
  const auto refused = StatusIs(absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(fs.OpenForWrite("/f", base::WriteMode::kAppend).status(), refused);
  EXPECT_THAT(fs.OpenForWrite("/g", base::WriteMode::kTruncate).status(), refused);
  EXPECT_THAT(fs.CreateDirectory("/d"), refused);
  EXPECT_THAT(fs.RemoveFile("/f"), refused);
  EXPECT_THAT(fs.Rename("/f", "/g"), refused);
  EXPECT_THAT(fs.Lock("/LOCK").status(), refused);
  EXPECT_OK(fs.LockShared("/LOCK").status());
  EXPECT_OK(fs.OpenForRead("/f", {}).status());
  fs.SetReadOnly(false);
  EXPECT_OK(fs.RemoveFile("/f"));
}

TEST(FaultFs, HandlesAndLocksDoNotOutliveACut) {
  FaultFs fs;
  WriteDurably(fs, "/f", "x");
  const auto writer = Open(fs, "/f");
  ASSERT_OK_AND_ASSIGN(const auto reader, fs.OpenForRead("/f", {}));
  ASSERT_OK_AND_ASSIGN(auto old_lock, fs.Lock("/LOCK"));
  ASSERT_OK(fs.SyncDirectory("/"));
  fs.CutPower(Tear::kNothing);
  EXPECT_THAT(writer->Append(Bytes("y")), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(reader->Size().status(), StatusIs(absl::StatusCode::kFailedPrecondition));
  ASSERT_OK_AND_ASSIGN(const auto lock, fs.Lock("/LOCK"));
  old_lock.reset();
  EXPECT_THAT(fs.Lock("/LOCK").status(), StatusIs(absl::StatusCode::kFailedPrecondition))
      << "the old holder's end must not free the new one's lock";
}

TEST(FaultFs, AKillTakesUnflushedBytesOnly) {
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    FaultFs fs(seed);
    const auto file = Open(fs, "/f");
    ASSERT_OK(file->Append(Bytes("flushed")));
    ASSERT_OK(file->Flush());
    ASSERT_OK(file->Append(Bytes("XY")));
    fs.KillProcess();
    seen.insert(Read(fs, "/f"));
    EXPECT_THAT(file->Flush(), StatusIs(absl::StatusCode::kFailedPrecondition));
    fs.CutPower(Tear::kNothing);
    EXPECT_THAT(fs.Files(), IsEmpty()) << "a kill makes nothing durable";
  }
  EXPECT_THAT(seen, ElementsAre("flushed", "flushedX", "flushedXY"));
}

TEST(FaultFs, CorruptByteFlipsOneByteForGood) {
  FaultFs fs;
  WriteDurably(fs, "/f", "abc");
  ASSERT_OK(fs.CorruptByte("/f", 1, 0x20));
  EXPECT_EQ(Read(fs, "/f"), "aBc");
  fs.CutPower(Tear::kNothing);
  EXPECT_EQ(Read(fs, "/f"), "aBc");
  EXPECT_THAT(fs.CorruptByte("/f", 3, 1), StatusIs(absl::StatusCode::kOutOfRange));
}

TEST(FaultFs, FreeBytesAreWhatTheyAreSetTo) {
  FaultFs fs;
  fs.SetFreeBytes(12345);
  EXPECT_THAT(fs.FreeBytes("/"), IsOkAndHolds(12345U));
}

TEST(FaultFs, AMisalignedDirectReadIsAnError) {
  FaultFs fs;
  WriteDurably(fs, "/f", std::string(2048, 'x'));
  ASSERT_OK_AND_ASSIGN(const auto file, fs.OpenForRead("/f", {.direct_io = true}));
  alignas(512) std::array<std::byte, 1024> buffer{};
  EXPECT_THAT(file->Read(512, buffer), IsOkAndHolds(1024U));
  EXPECT_THAT(file->Read(1, buffer), testing::Not(IsOk()));
  EXPECT_THAT(file->Read(0, std::span(buffer).first(100)), testing::Not(IsOk()));
  EXPECT_THAT(file->Read(0, std::span(buffer).subspan(1, 512)), testing::Not(IsOk()));
}

TEST(FaultFs, ADirectoryCannotMoveBelowItself) {
  FaultFs fs;
  ASSERT_OK(fs.CreateDirectory("/a"));
  ASSERT_OK(fs.CreateDirectory("/a/b"));
  EXPECT_THAT(fs.Rename("/a", "/a/b/c"), testing::Not(IsOk()));
  EXPECT_THAT(fs.Rename("/a/b", "/a"), testing::Not(IsOk()));
}

// Appends records of one length-prefixed log and answers how many were acknowledged; the directory
// is synced or not.
int AppendRecords(FaultFs& fs, bool sync_file, bool sync_directory) {
  const auto file = fs.OpenForWrite("/log", WriteMode::kAppend);
  if (!file.ok() || (sync_directory && !fs.SyncDirectory("/").ok())) return 0;
  int acknowledged = 0;
  for (; acknowledged < 5; ++acknowledged) {
    const std::string record = absl::StrCat("[record ", acknowledged, "]");
    if (!(*file)->Append(Bytes(record)).ok()) break;
    if (!(sync_file ? (*file)->Sync() : (*file)->Flush()).ok()) break;
  }
  return acknowledged;
}

bool LostAnAcknowledgedRecord(bool sync_file, bool sync_directory) {
  FaultFs dry_run(1);
  AppendRecords(dry_run, sync_file, sync_directory);
  bool lost = false;
  for (int64_t cut = 0; cut <= dry_run.operations(); ++cut) {
    for (const Tear tear : {Tear::kNothing, Tear::kUnsyncedTail, Tear::kHalfOfLastWrite}) {
      FaultFs fs(static_cast<uint64_t>(cut));
      fs.FailFrom(cut);
      const int acknowledged = AppendRecords(fs, sync_file, sync_directory);
      fs.CutPower(tear);
      const std::string log = Read(fs, "/log");
      for (int i = 0; i < acknowledged; ++i) {
        lost |= !absl::StrContains(log, absl::StrCat("[record ", i, "]"));
      }
    }
  }
  return lost;
}

TEST(FaultFs, FindsEveryMissingSyncOfASmallLog) {
  EXPECT_FALSE(LostAnAcknowledgedRecord(true, true));
  EXPECT_TRUE(LostAnAcknowledgedRecord(false, true));
  EXPECT_TRUE(LostAnAcknowledgedRecord(true, false));
}

}  // namespace
}  // namespace tessera::inline test
