#include <memory>
#include <string>

#include "base/check.h"
#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "base/status_macros.h"
#include "storage/rocks/sync_ledger.h"
#include "storage/rocks/wal_check.h"
#include "storage/row_store.h"
#include "tests/fuzz/stored.h"
#include "tests/fuzz/targets.h"
#include "tests/support/fault_fs.h"
#include "tests/support/fs_image.h"

namespace tessera::fuzz {
namespace {

using storage::LedgerState;
using storage::WalPosition;

constexpr char kDir[] = "/rows";
constexpr char kLogPath[] = "/rows/000007.log";
constexpr char kLedgerPath[] = "/rows.synced";
constexpr size_t kLedgerEntryBytes = 24;

// Of a whole ledger; entries that are damaged are passed over, so that one which says less is not.
absl::Status ReadLedgerBytes(std::string_view input) {
  FaultFs fs(1);
  PutFile(fs, kLedgerPath, std::string(input));
  TESSERA_ASSIGN_OR_RETURN(const LedgerState state, storage::ReadLedger(fs, kLedgerPath));
  TESSERA_CHECK(storage::SyncLedger::Create(fs, kLedgerPath, state).ok());
  const absl::StatusOr<LedgerState> again = storage::ReadLedger(fs, kLedgerPath);
  TESSERA_CHECK(again.ok() && *again == state);
  const bool whole = state.manifest.has_value() && !state.logs.empty() && state.sequence != 0;
  return whole ? absl::OkStatus() : absl::DataLossError("an entry was passed over");
}

std::string MendedLedger(std::string_view input) {
  std::string mended;
  for (size_t at = 0; at < input.size(); at += kLedgerEntryBytes) {
    mended += ResealedInFront(input.substr(at, kLedgerEntryBytes));
  }
  return mended;
}

absl::Status RunLedger(std::string_view input) {
  CheckedStored(ReadLedgerBytes(MendedLedger(input))).IgnoreError();
  return CheckedStored(ReadLedgerBytes(input));
}

std::vector<Sample> Ledgers() {
  FaultFs fs(1);
  const LedgerState state{.manifest = storage::ManifestMark{.number = 5, .bytes = 700},
                          .logs = {{4, 100}, {6, uint64_t{1} << 33}},
                          .sequence = 12};
  absl::StatusOr<std::unique_ptr<storage::SyncLedger>> ledger =
      storage::SyncLedger::Create(fs, kLedgerPath, state);
  TESSERA_CHECK(ledger.ok());
  Sample created{"created", Capture(fs).at(kLedgerPath)};
  const WalPosition synced{9, 4096};
  (*ledger)->LogsSynced(std::span(&synced, 1));
  (*ledger)->ManifestSynced({.number = 10, .bytes = 7});
  TESSERA_CHECK((*ledger)->LogObsolete(4).ok() && (*ledger)->LogCut(9, 512).ok());
  TESSERA_CHECK((*ledger)->Closed(1234).ok());
  Sample grown{"grown", Capture(fs).at(kLedgerPath)};
  const absl::StatusOr<LedgerState> read = storage::ReadLedger(fs, kLedgerPath);
  TESSERA_CHECK(read.ok() && *read == (*ledger)->state());
  return {created, grown};
}

absl::StatusOr<std::string> RewriteWatermark(std::string_view input) {
  WalPosition position;
  if (!storage::DecodeWatermark(input, &position)) return absl::DataLossError("no watermark");
  return storage::EncodeWatermark(position);
}

std::vector<Sample> Watermarks() {
  return {{"first", storage::EncodeWatermark({0, 0})},
          {"large", storage::EncodeWatermark({12, uint64_t{1} << 40})}};
}

// A log alone in its directory. What is judged a torn tail is cut, and then there is none.
absl::Status JudgeLog(std::string_view input) {
  FaultFs fs(1);
  PutFile(fs, kLogPath, std::string(input));
  const absl::StatusOr<uint64_t> whole = storage::WholeBytes(fs, kLogPath);
  TESSERA_CHECK(whole.ok() && *whole <= input.size());
  TESSERA_CHECK(!storage::JudgeLogs(fs, kDir, {{7, *whole + 1}}).ok());
  TESSERA_CHECK(!storage::JudgeLogs(fs, kDir, {{8, 1}}).ok());
  TESSERA_ASSIGN_OR_RETURN(const auto verdicts, storage::JudgeLogs(fs, kDir, {}));
  TESSERA_CHECK(verdicts.size() == 1 && verdicts[0].whole.bytes == *whole && verdicts[0].kept);
  TESSERA_CHECK(storage::MendLogs(fs, kDir, verdicts).ok());
  const auto mended = storage::JudgeLogs(fs, kDir, {{7, *whole}});
  TESSERA_CHECK(mended.ok() && !mended->at(0).damaged && mended->at(0).bytes >= *whole);
  return verdicts[0].damaged ? absl::DataLossError("torn") : absl::OkStatus();
}

// Sets the checksums of all fragments right, as far as their lengths lead.
std::string MendedLog(std::string_view input) {
  std::string mended(input);
  for (size_t at = 0; at + 7 <= mended.size();) {
    auto* const fragment = reinterpret_cast<std::byte*>(mended.data()) + at;
    const size_t length = base::LoadU16(fragment + 4);
    if (at + 7 + length > mended.size()) break;
    const uint32_t crc = base::Crc32c(std::span<const std::byte>(fragment + 6, 1 + length));
    base::StoreU32(fragment, ((crc >> 15) | (crc << 17)) + 0xa282ead8U);
    at += 7 + length;
  }
  return mended;
}

absl::Status RunLog(std::string_view input) {
  CheckedStored(JudgeLog(MendedLog(input))).IgnoreError();
  return CheckedStored(JudgeLog(input));
}

// As RocksDB writes it.
std::vector<Sample> Logs() {
  FaultFs fs(1);
  absl::StatusOr<std::unique_ptr<storage::RowStore>> store = storage::RowStore::Open(
      fs, kDir, {.block_cache_bytes = uint64_t{4} << 20, .write_buffer_bytes = uint64_t{2} << 20});
  TESSERA_CHECK(store.ok());
  for (const size_t bytes : {10, 100, 0}) {
    storage::WriteSet set;
    set.Put(storage::Table::kPoints, "key", std::string(bytes, 'x'));
    set.Delete(storage::Table::kIds, "other");
    TESSERA_CHECK((*store)->Write(set, storage::Durability::kSynced).ok());
  }
  for (const auto& [path, bytes] : Capture(fs)) {
    if (storage::WalNumber(path).has_value()) return {{"three_writes", bytes}};
  }
  TESSERA_FATAL("no log");
}

}  // namespace

std::vector<Target> LogTargets() {
  return {
      {.name = "ledger", .run = RunLedger, .samples = Ledgers},
      {.name = "watermark",
       .run = RunStored<RewriteWatermark>,
       .rewrite = RewriteWatermark,
       .samples = Watermarks},
      {.name = "log", .run = RunLog, .samples = Logs},
  };
}

}  // namespace tessera::fuzz
