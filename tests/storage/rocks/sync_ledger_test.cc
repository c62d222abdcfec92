#include "storage/rocks/sync_ledger.h"

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/coding/crc32c.h"
#include "tests/support/fault_fs.h"
#include "tests/support/fs_image.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::storage {
namespace {

constexpr char kPath[] = "/rows.synced";

void Synced(SyncLedger& ledger, uint64_t log, uint64_t bytes) {
  const WalPosition position{log, bytes};
  ledger.LogsSynced(std::span(&position, 1));
}

std::unique_ptr<SyncLedger> MustCreate(base::FileSystem& fs, LedgerState state = {}) {
  auto ledger = SyncLedger::Create(fs, kPath, std::move(state));
  EXPECT_OK(ledger);
  return *std::move(ledger);
}

LedgerState MustRead(base::FileSystem& fs) {
  const auto state = ReadLedger(fs, kPath);
  EXPECT_OK(state);
  return *state;
}

TEST(SyncLedger, IsBesideItsDirectory) {
  EXPECT_EQ(LedgerPath("/data/rows"), "/data/rows.synced");
  EXPECT_EQ(LedgerPath("rows/"), "rows.synced");
}

TEST(SyncLedger, ReadsWhatWasSaid) {
  FaultFs fs;
  EXPECT_EQ(MustRead(fs), LedgerState());
  const auto ledger = MustCreate(fs);
  EXPECT_EQ(MustRead(fs), LedgerState());
  Synced(*ledger, 4, 100);
  Synced(*ledger, 9, 50);
  Synced(*ledger, 9, 20);  // known to be longer
  ledger->ManifestSynced({.number = 5, .bytes = 77});
  ledger->ManifestSynced({.number = 10, .bytes = 7});
  ASSERT_OK(ledger->LogObsolete(4));
  ASSERT_OK(ledger->LogCut(9, 30));
  ASSERT_OK(ledger->LogCut(9, 40));  // there is less already
  ASSERT_OK(ledger->Closed(1234));
  const LedgerState expected{
      .manifest = ManifestMark{.number = 10, .bytes = 7}, .logs = {{9, 30}}, .sequence = 1234};
  EXPECT_EQ(ledger->state(), expected);
  EXPECT_EQ(MustRead(fs), expected);
  const auto next = MustCreate(fs, MustRead(fs));
  EXPECT_EQ(MustRead(fs), expected);
}

// A sync that was asked about before its log went, and is told of after.
TEST(SyncLedger, ALogThatWentDoesNotComeBack) {
  FaultFs fs;
  const auto ledger = MustCreate(fs);
  Synced(*ledger, 4, 100);
  ASSERT_OK(ledger->LogObsolete(4));
  Synced(*ledger, 4, 150);
  ASSERT_OK(ledger->LogObsolete(5));  // nobody knew of it
  Synced(*ledger, 5, 10);
  Synced(*ledger, 6, 1);
  EXPECT_THAT(MustRead(fs).logs, testing::ElementsAre(testing::Pair(6, 1)));
}

TEST(SyncLedger, StaysSmall) {
  FaultFs fs;
  const auto ledger = MustCreate(fs);
  for (uint64_t bytes = 1; bytes <= 20'000; ++bytes) Synced(*ledger, 4, bytes);
  EXPECT_LE(*fs.FileSize(kPath), 64U << 10);
  EXPECT_EQ(MustRead(fs).logs.at(4), 20'000);
}

TEST(SyncLedger, DamagedEntriesAreOnlyForgotten) {
  FaultFs fs;
  {
    const auto ledger = MustCreate(fs);
    for (uint64_t bytes = 1; bytes <= 100; ++bytes) Synced(*ledger, 4, bytes);
  }
  const FsImage whole = Capture(fs);
  const std::string bytes = whole.at(kPath);
  for (size_t length = 0; length < bytes.size(); ++length) {
    PutFile(fs, kPath, bytes.substr(0, length));
    const LedgerState state = MustRead(fs);
    ASSERT_LE(state.logs.empty() ? 0 : state.logs.at(4), 99U);
  }
  for (size_t at = 0; at < bytes.size(); ++at) {
    PutFile(fs, kPath, bytes);
    ASSERT_OK(fs.CorruptByte(kPath, at, 0x40));
    ASSERT_GE(MustRead(fs).logs.at(4), 99U);
  }
}

TEST(SyncLedger, ANewerFormatIsRefused) {
  FaultFs fs;
  {
    const auto ledger = MustCreate(fs);
  }
  // The same entry with version 2 and its own checksum.
  std::string bytes = Capture(fs).at(kPath);
  bytes[16] = 2;
  const uint32_t crc = base::Crc32c(std::string_view(bytes).substr(4, 20));
  for (size_t i = 0; i < 4; ++i) bytes[i] = static_cast<char>(crc >> (8 * i));
  PutFile(fs, kPath, bytes);
  EXPECT_THAT(ReadLedger(fs, kPath), StatusIs(absl::StatusCode::kUnimplemented));
}

// Whatever is read after a power cut was said, and what has to be durable is.
TEST(SyncLedger, APowerCutLowersBoundsOnlyWhereItMay) {
  for (const Tear tear : {Tear::kNothing, Tear::kUnsyncedTail, Tear::kHalfOfLastWrite}) {
    for (int64_t cut = 0; cut < 60; ++cut) {
      FaultFs fs;
      uint64_t said = 0;
      uint64_t floor_durable = 0;
      bool obsolete = false;
      fs.FailFrom(cut);
      if (auto ledger = SyncLedger::Create(fs, kPath, {}); ledger.ok()) {
        for (uint64_t bytes = 1; bytes <= 10; ++bytes) {
          Synced(**ledger, 4, bytes);
          said = bytes;
        }
        (*ledger)->ManifestSynced({.number = 1, .bytes = 5});
        if ((*ledger)->LogCut(4, 6).ok()) floor_durable = 6;
        obsolete = (*ledger)->LogObsolete(4).ok();
        Synced(**ledger, 7, 70);
      }
      fs.CutPower(tear);
      const LedgerState state = MustRead(fs);
      const uint64_t bytes = state.logs.contains(4) ? state.logs.at(4) : 0;
      ASSERT_LE(bytes, said);
      ASSERT_TRUE(floor_durable == 0 || bytes <= floor_durable);
      ASSERT_TRUE(!obsolete || bytes == 0);
    }
  }
}

TEST(SyncLedger, AFullDiskFailsWhatHasToBeDurable) {
  FaultFs fs;
  const auto ledger = MustCreate(fs);
  Synced(*ledger, 4, 100);
  fs.AddRule({.op = FaultOp::kAppend, .path_part = "synced", .kind = FaultKind::kNoSpace});
  Synced(*ledger, 4, 200);  // left out
  EXPECT_THAT(ledger->LogObsolete(4), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(MustRead(fs).logs.at(4), 100);
  EXPECT_THAT(ledger->LogCut(4, 50), StatusIs(absl::StatusCode::kResourceExhausted));
  fs.ClearRules();
  Synced(*ledger, 5, 10);
  ASSERT_OK(ledger->LogObsolete(4));
  EXPECT_EQ(MustRead(fs), ledger->state());
  EXPECT_EQ(MustRead(fs).logs.at(5), 10);
}

}  // namespace
}  // namespace tessera::storage
