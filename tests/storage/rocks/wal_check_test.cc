#include "storage/rocks/wal_check.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/status_macros.h"
#include "storage/rocks/wal_tracker.h"
#include "storage/row_store.h"
#include "tests/storage/rows.h"
#include "tests/support/fault_fs.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr char kDir[] = "/rows";

std::unique_ptr<RowStore> MustOpen(FaultFs& fs) {
  return storage::MustOpen(fs, kDir);
}

std::vector<std::string> Logs(const FaultFs& fs) {
  std::vector<std::string> logs;
  for (const std::string& path : fs.Files()) {
    if (WalNumber(path).has_value()) logs.push_back(path);
  }
  return logs;
}

std::string Contents(FaultFs& fs, const std::string& path) {
  const auto file = fs.OpenForRead(path, {});
  EXPECT_OK(file);
  std::string bytes(*fs.FileSize(path), '\0');
  EXPECT_THAT((*file)->Read(0, std::as_writable_bytes(std::span(bytes))),
              IsOkAndHolds(bytes.size()));
  return bytes;
}

void Replace(FaultFs& fs, const std::string& path, std::string_view bytes) {
  const auto file = fs.OpenForWrite(path, base::WriteMode::kTruncate);
  ASSERT_OK(file);
  ASSERT_OK((*file)->Append(std::as_bytes(std::span(bytes))));
  ASSERT_OK((*file)->Sync());
}

// By watermarks alone, as if the ledger were lost.
absl::Status CheckAndMend(FaultFs& fs) {
  TESSERA_ASSIGN_OR_RETURN(const std::vector<LogVerdict> logs, JudgeLogs(fs, kDir, {}));
  return MendLogs(fs, kDir, logs);
}

std::vector<std::string> Keys(const RowStore& store, Table table) {
  std::vector<std::string> keys;
  const std::unique_ptr<RowIterator> it = store.NewIterator(table, "");
  for (; it->Valid(); it->Next()) keys.emplace_back(it->key());
  EXPECT_OK(it->status());
  return keys;
}

// A store on which the power has gone out after `synced` synced and `buffered` buffered rows, all
// of whose log bytes have reached the disk.
struct CrashedStore {
  explicit CrashedStore(int synced, int buffered, size_t value_bytes = 20) {
    std::unique_ptr<RowStore> store = MustOpen(fs);
    for (int i = 0; i < synced + buffered; ++i) {
      before_last = i == 0 ? 0 : *fs.FileSize(Logs(fs).back());
      if (i == synced) synced_bytes = before_last;
      EXPECT_OK(PutOne(*store, Table::kPoints, absl::StrFormat("k%03d", i),
                       std::string(value_bytes, static_cast<char>(i)),
                       i < synced ? Durability::kSynced : Durability::kBuffered));
    }
    EXPECT_THAT(Logs(fs), SizeIs(1));
    log = Logs(fs).back();
    bytes = Contents(fs, log);
    PowerCut(fs, Tear::kNothing, std::move(store));
    Replace(fs, log, bytes);
  }

  FaultFs fs;
  std::string log;
  std::string bytes;
  uint64_t before_last = 0;   // size of the log before the last row
  uint64_t synced_bytes = 0;  // size of the log before the first buffered row
};

TEST(Watermark, RoundTripsAndRefusesOtherBytes) {
  const std::string bytes = EncodeWatermark({12, 345'678});
  WalPosition position;
  ASSERT_TRUE(DecodeWatermark(bytes, &position));
  EXPECT_EQ(position, (WalPosition{12, 345'678}));
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(DecodeWatermark(bytes.substr(0, length), &position));
  }
  EXPECT_FALSE(DecodeWatermark(bytes + "x", &position));
  EXPECT_FALSE(DecodeWatermark(absl::StrCat("V", bytes.substr(1)), &position));
}

TEST(WalTracker, DurablePrefixEndsInTheFirstLogThatIsNotWhole) {
  WalTracker tracker;
  tracker.Created(4);
  tracker.Grew(4, 100);
  EXPECT_EQ(tracker.durable(), WalPosition{});
  tracker.Synced(4, 100);
  EXPECT_EQ(tracker.durable(), (WalPosition{4, 100}));
  tracker.Grew(4, 150);
  tracker.Created(9);
  tracker.Grew(9, 10);
  tracker.Synced(9, 10);
  EXPECT_EQ(tracker.durable(), (WalPosition{4, 100}));
  tracker.Synced(4, 150);
  EXPECT_EQ(tracker.durable(), (WalPosition{9, 10}));
  tracker.Removed(4);
  tracker.Removed(9);
  EXPECT_EQ(tracker.durable(), (WalPosition{9, 10}));
}

TEST(WalTracker, LogsWithoutADurableNameAreNotDurable) {
  WalTracker tracker;
  tracker.Created(4);
  tracker.Grew(4, 100);
  tracker.Synced(4, 100);
  EXPECT_THAT(tracker.DurableLogs(), IsEmpty());
  EXPECT_EQ(tracker.newest(), 4);
  tracker.Named(4);
  EXPECT_THAT(tracker.DurableLogs(), ElementsAre(WalPosition{4, 100}));
  tracker.Created(9);
  tracker.Grew(9, 10);
  tracker.Synced(9, 10);
  EXPECT_THAT(tracker.DurableLogs(), ElementsAre(WalPosition{4, 100}));
  tracker.Named(9);
  EXPECT_THAT(tracker.DurableLogs(), ElementsAre(WalPosition{4, 100}, WalPosition{9, 10}));
  tracker.Grew(4, 101);
  EXPECT_THAT(tracker.DurableLogs(), ElementsAre(WalPosition{4, 100}));
}

TEST(WalCheck, EveryFlippedByteOfSyncedRowsIsDataLoss) {
  CrashedStore crashed(20, 0);
  std::mt19937_64 rng(TestSeed());
  for (uint64_t at = 0; at < crashed.bytes.size(); ++at) {
    SCOPED_TRACE(absl::StrCat("byte ", at, " of ", crashed.bytes.size()));
    const auto mask = static_cast<uint8_t>(1U << (rng() % 8));
    ASSERT_OK(crashed.fs.CorruptByte(crashed.log, at, mask));
    const absl::Status status = CheckAndMend(crashed.fs);
    if (at < crashed.before_last) {
      ASSERT_THAT(status, StatusIs(absl::StatusCode::kDataLoss));
      ASSERT_OK(crashed.fs.CorruptByte(crashed.log, at, mask));
    } else {
      // Nothing was written after the last sync that could tell it from a torn tail.
      ASSERT_OK(status);
      ASSERT_EQ(Contents(crashed.fs, crashed.log), crashed.bytes.substr(0, crashed.before_last));
      Replace(crashed.fs, crashed.log, crashed.bytes);
    }
  }
  ASSERT_OK(CheckAndMend(crashed.fs));
  EXPECT_EQ(Contents(crashed.fs, crashed.log), crashed.bytes);
}

TEST(WalCheck, DamageInTheMiddleFailsTheOpenAndGoesOnFailing) {
  CrashedStore crashed(20, 0);
  ASSERT_OK(crashed.fs.CorruptByte(crashed.log, crashed.bytes.size() / 2, 0x10));
  for (int open = 0; open < 2; ++open) {
    EXPECT_THAT(RowStore::Open(crashed.fs, kDir, kSmallRowStore),
                StatusIs(absl::StatusCode::kDataLoss, testing::HasSubstr(crashed.log)));
  }
  // The operator puts the right byte back: nothing has been lost meanwhile.
  ASSERT_OK(crashed.fs.CorruptByte(crashed.log, crashed.bytes.size() / 2, 0x10));
  const std::unique_ptr<RowStore> store = MustOpen(crashed.fs);
  EXPECT_THAT(Keys(*store, Table::kPoints), SizeIs(20));
}

TEST(WalCheck, RowsOfManyBlocksAreFollowed) {
  CrashedStore crashed(6, 0, 50'000);
  for (const uint64_t at : {uint64_t{0}, uint64_t{32'768}, uint64_t{40'000}, uint64_t{100'001},
                            crashed.before_last - 1}) {
    ASSERT_OK(crashed.fs.CorruptByte(crashed.log, at, 1));
    EXPECT_THAT(CheckAndMend(crashed.fs), StatusIs(absl::StatusCode::kDataLoss));
    ASSERT_OK(crashed.fs.CorruptByte(crashed.log, at, 1));
  }
  const std::unique_ptr<RowStore> store = MustOpen(crashed.fs);
  EXPECT_THAT(Keys(*store, Table::kPoints), SizeIs(6));
}

TEST(WalCheck, TornTailIsCutAtEveryLength) {
  CrashedStore crashed(5, 15);
  for (uint64_t length = crashed.synced_bytes; length <= crashed.bytes.size(); ++length) {
    SCOPED_TRACE(length);
    Replace(crashed.fs, crashed.log, crashed.bytes.substr(0, length));
    ASSERT_OK(CheckAndMend(crashed.fs));
    const std::string cut = Contents(crashed.fs, crashed.log);
    ASSERT_GE(cut.size(), crashed.synced_bytes);
    ASSERT_EQ(cut, crashed.bytes.substr(0, cut.size()));
    if (length == crashed.bytes.size()) {
      ASSERT_EQ(cut.size(), length);
    }
  }
  Replace(crashed.fs, crashed.log, crashed.bytes.substr(0, crashed.bytes.size() - 1));
  const std::unique_ptr<RowStore> store = MustOpen(crashed.fs);
  EXPECT_THAT(Keys(*store, Table::kPoints), SizeIs(19));
}

// A power cut may write later pages and not earlier ones: a hole, with whole records behind it.
// A killed process may not have come to make the name of a log durable.
TEST(WalCheck, WhatIsLeftIsDurableWithItsName) {
  const CrashedStore crashed(2, 1);
  for (const size_t cut : {size_t{0}, size_t{5}}) {
    const std::string bytes = crashed.bytes.substr(0, crashed.bytes.size() - cut);
    FaultFs fs;
    ASSERT_OK(fs.CreateDirectory(kDir));
    ASSERT_OK(fs.SyncDirectory("/"));
    {
      const auto file = fs.OpenForWrite(crashed.log, base::WriteMode::kTruncate);
      ASSERT_OK(file);
      ASSERT_OK((*file)->Append(std::as_bytes(std::span(bytes))));
      ASSERT_OK((*file)->Flush());
    }
    ASSERT_OK(CheckAndMend(fs));
    fs.CutPower(Tear::kNothing);
    ASSERT_THAT(Logs(fs), ElementsAre(crashed.log));
    EXPECT_EQ(Contents(fs, crashed.log),
              cut == 0 ? bytes : crashed.bytes.substr(0, crashed.before_last));
  }
}

TEST(WalCheck, HoleInBufferedRowsLeavesAPrefix) {
  for (const bool zeroed : {false, true}) {
    SCOPED_TRACE(zeroed);
    CrashedStore crashed(5, 15, 8000);
    std::string bytes = crashed.bytes;
    const uint64_t at = crashed.synced_bytes + 5 * 8000 + 100;  // in the sixth buffered row
    if (zeroed) {
      const uint64_t next_block = (at / 32'768 + 1) * 32'768;
      bytes.replace(at, next_block - at, next_block - at, '\0');
    } else {
      bytes[at] ^= 1;
    }
    Replace(crashed.fs, crashed.log, bytes);
    const std::unique_ptr<RowStore> store = MustOpen(crashed.fs);
    ASSERT_NE(store, nullptr);
    const std::vector<std::string> keys = Keys(*store, Table::kPoints);
    ASSERT_GE(keys.size(), 9U);
    ASSERT_LE(keys.size(), 11U);
    EXPECT_EQ(keys.back(), absl::StrFormat("k%03d", keys.size() - 1));
  }
}

TEST(WalCheck, RecordsBehindASequenceAreCut) {
  // Every row takes one sequence number. Rows of several blocks, too.
  for (const size_t value_bytes : {size_t{20}, size_t{15'000}}) {
    for (const uint64_t last : {0U, 1U, 7U, 19U, 20U, 1000U}) {
      CrashedStore crashed(10, 10, value_bytes);
      WalPosition told;
      ASSERT_OK(CutLogsBehind(crashed.fs, kDir, last, [&](const WalPosition& left) {
        told = left;
        return absl::OkStatus();
      }));
      EXPECT_EQ(last < 20, told.log == *WalNumber(crashed.log));
      EXPECT_TRUE(last >= 20 || told.bytes == *crashed.fs.FileSize(crashed.log));
      const std::unique_ptr<RowStore> store = MustOpen(crashed.fs);
      ASSERT_NE(store, nullptr);
      EXPECT_THAT(Keys(*store, Table::kPoints), SizeIs(std::min<uint64_t>(last, 20)));
    }
  }
}

TEST(WalCheck, DamageAfterACleanCloseIsDataLoss) {
  FaultFs fs;
  std::unique_ptr<RowStore> store = MustOpen(fs);
  ASSERT_OK(PutOne(*store, Table::kPoints, "a", "1", Durability::kSynced));
  ASSERT_OK(PutOne(*store, Table::kPoints, "b", "2", Durability::kBuffered));
  const std::string log = Logs(fs).back();
  const uint64_t end = *fs.FileSize(log);
  store.reset();
  for (uint64_t at = 0; at < end; ++at) {
    ASSERT_OK(fs.CorruptByte(log, at, 0x80));
    ASSERT_THAT(CheckAndMend(fs), StatusIs(absl::StatusCode::kDataLoss)) << at;
    ASSERT_OK(fs.CorruptByte(log, at, 0x80));
  }
  store = MustOpen(fs);
  EXPECT_THAT(Keys(*store, Table::kPoints), ElementsAre("a", "b"));
}

// What the ledger knows needs no watermark behind it.
TEST(WalCheck, EveryByteThatIsKnownToBeSyncedMustBeThere) {
  CrashedStore crashed(5, 5);
  const uint64_t log = *WalNumber(crashed.log);
  const std::map<uint64_t, uint64_t> synced = {{log, crashed.bytes.size()}};
  EXPECT_OK(JudgeLogs(crashed.fs, kDir, synced));
  for (uint64_t length = 0; length < crashed.bytes.size(); ++length) {
    Replace(crashed.fs, crashed.log, crashed.bytes.substr(0, length));
    ASSERT_THAT(JudgeLogs(crashed.fs, kDir, synced), StatusIs(absl::StatusCode::kDataLoss));
  }
  Replace(crashed.fs, crashed.log, crashed.bytes);
  for (uint64_t at = 0; at < crashed.bytes.size(); ++at) {
    ASSERT_OK(crashed.fs.CorruptByte(crashed.log, at, 1));
    ASSERT_THAT(JudgeLogs(crashed.fs, kDir, synced), StatusIs(absl::StatusCode::kDataLoss));
    ASSERT_OK(crashed.fs.CorruptByte(crashed.log, at, 1));
  }
  ASSERT_OK(crashed.fs.RemoveFile(crashed.log));
  EXPECT_THAT(JudgeLogs(crashed.fs, kDir, synced),
              StatusIs(absl::StatusCode::kDataLoss, testing::HasSubstr("is missing")));
}

// Two logs that are both needed: a row of kIds is in the first, whose memtable is not flushed.
class TwoLogs : public testing::Test {
 protected:
  void Write(Durability durability) {
    std::unique_ptr<RowStore> store = MustOpen(fs_);
    ASSERT_OK(PutOne(*store, Table::kIds, "first", "", Durability::kSynced));
    const std::string first = Logs(fs_).back();
    int rows = 0;
    while (Logs(fs_).back() == first) {
      ASSERT_OK(PutOne(*store, Table::kPoints, absl::StrFormat("k%05d", ++rows),
                       std::string(1000, 'v'), durability));
      ASSERT_LT(rows, 10'000);
    }
    ASSERT_OK(PutOne(*store, Table::kIds, "second", "", durability));
    ASSERT_OK(PutOne(*store, Table::kIds, "third", "", durability));
    logs_ = Logs(fs_);
    ASSERT_THAT(logs_, SizeIs(2));
    std::vector<std::string> bytes;
    for (const std::string& log : logs_) bytes.push_back(Contents(fs_, log));
    PowerCut(fs_, Tear::kNothing, std::move(store));
    if (durability == Durability::kSynced) {
      ASSERT_EQ(Contents(fs_, logs_[0]), bytes[0]);
      ASSERT_EQ(Contents(fs_, logs_[1]), bytes[1]);
    }
  }

  FaultFs fs_;
  std::vector<std::string> logs_;
};

TEST_F(TwoLogs, DamageInTheFirstIsDataLoss) {
  Write(Durability::kSynced);
  for (const uint64_t at : {uint64_t{10}, *fs_.FileSize(logs_[0]) - 1}) {
    ASSERT_OK(fs_.CorruptByte(logs_[0], at, 1));
    EXPECT_THAT(RowStore::Open(fs_, kDir, kSmallRowStore), StatusIs(absl::StatusCode::kDataLoss));
    ASSERT_OK(fs_.CorruptByte(logs_[0], at, 1));
  }
  const std::unique_ptr<RowStore> store = MustOpen(fs_);
  EXPECT_THAT(Keys(*store, Table::kIds), ElementsAre("first", "second", "third"));
}

TEST_F(TwoLogs, MissingFirstIsDataLoss) {
  Write(Durability::kSynced);
  ASSERT_OK(fs_.RemoveFile(logs_[0]));
  EXPECT_THAT(RowStore::Open(fs_, kDir, kSmallRowStore), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace tessera::storage
