#include "storage/rocks/sync_ledger.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "base/status_macros.h"
#include "storage/directory.h"

namespace tessera::storage {
namespace {

// Entries have one length, so that a damaged one does not hide those behind it.
constexpr size_t kEntryBytes = 24;
constexpr size_t kChecksumBytes = 4;
constexpr uint64_t kFileBytesMax = uint64_t{64} << 10;  // then it is written anew
constexpr uint64_t kMagic = 0x0a44'454c'5353'4554;      // "TESSLED\n"
constexpr uint64_t kFormatVersion = 1;

// On disk: never renumber.
// Far more than there are threads that may be late with what they say of a log.
constexpr size_t kObsoleteMax = 4096;

enum class Kind : uint32_t { kBegin = 1, kLog = 2, kLogObsolete = 3, kManifest = 4, kClosed = 5 };

void PutEntry(Kind kind, uint64_t number, uint64_t value, std::string* out) {
  std::string body;
  base::PutU32(&body, static_cast<uint32_t>(kind));
  base::PutU64(&body, number);
  base::PutU64(&body, value);
  base::PutU32(out, base::Crc32c(std::string_view(body)));
  out->append(body);
}

std::string Encode(const LedgerState& state) {
  std::string out;
  PutEntry(Kind::kBegin, kMagic, kFormatVersion, &out);
  if (state.manifest.has_value()) {
    PutEntry(Kind::kManifest, state.manifest->number, state.manifest->bytes, &out);
  }
  for (const auto& [log, bytes] : state.logs) PutEntry(Kind::kLog, log, bytes, &out);
  PutEntry(Kind::kClosed, state.sequence, 0, &out);
  return out;
}

absl::Status Apply(Kind kind, uint64_t number, uint64_t value, LedgerState* state) {
  switch (kind) {
    case Kind::kBegin:
      if (number == kMagic && value > kFormatVersion) {
        return absl::UnimplementedError(
            absl::StrCat("format version ", value, ", this program reads up to ", kFormatVersion));
      }
      break;
    case Kind::kLog:
      state->logs[number] = value;
      break;
    case Kind::kLogObsolete:
      state->logs.erase(number);
      break;
    case Kind::kManifest:
      state->manifest = ManifestMark{.number = number, .bytes = value};
      break;
    case Kind::kClosed:
      state->sequence = std::max(state->sequence, number);
      break;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadAll(base::FileSystem& fs, const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<base::RandomAccessFile> file,
                           fs.OpenForRead(path, {}));
  std::string bytes;
  std::vector<std::byte> part(kFileBytesMax);
  for (;;) {
    TESSERA_ASSIGN_OR_RETURN(const size_t got, file->Read(bytes.size(), part));
    bytes.append(reinterpret_cast<const char*>(part.data()), got);
    if (got < part.size()) return bytes;
  }
}

}  // namespace

std::string LedgerPath(const std::string& dir) {
  const size_t end = dir.find_last_not_of('/');
  return absl::StrCat(dir.substr(0, end + 1), ".synced");
}

absl::StatusOr<LedgerState> ReadLedger(base::FileSystem& fs, const std::string& path) {
  LedgerState state;
  const absl::StatusOr<std::string> bytes = ReadAll(fs, path);
  if (absl::IsNotFound(bytes.status())) return state;
  TESSERA_RETURN_IF_ERROR(bytes.status());
  for (size_t at = 0; at + kEntryBytes <= bytes->size(); at += kEntryBytes) {
    base::Decoder decoder(std::string_view(*bytes).substr(at, kEntryBytes));
    uint32_t crc = 0;
    uint32_t kind = 0;
    uint64_t number = 0;
    uint64_t value = 0;
    TESSERA_RETURN_IF_ERROR(decoder.U32(&crc));
    TESSERA_RETURN_IF_ERROR(decoder.U32(&kind));
    TESSERA_RETURN_IF_ERROR(decoder.U64(&number));
    TESSERA_RETURN_IF_ERROR(decoder.U64(&value));
    const std::string_view body =
        std::string_view(*bytes).substr(at + kChecksumBytes, kEntryBytes - kChecksumBytes);
    if (crc != base::Crc32c(body)) continue;
    if (absl::Status status = Apply(static_cast<Kind>(kind), number, value, &state); !status.ok()) {
      return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
    }
  }
  return state;
}

absl::StatusOr<std::unique_ptr<SyncLedger>> SyncLedger::Create(base::FileSystem& fs,
                                                               std::string path,
                                                               LedgerState state) {
  std::unique_ptr<SyncLedger> ledger(new SyncLedger(fs, std::move(path), std::move(state)));
  const base::MutexLock lock(&ledger->mu_);
  TESSERA_RETURN_IF_ERROR(ledger->Replace());
  return ledger;
}

LedgerState SyncLedger::state() const {
  const base::MutexLock lock(&mu_);
  return state_;
}

void SyncLedger::LogsSynced(std::span<const WalPosition> logs) {
  const base::MutexLock lock(&mu_);
  std::string entries;
  for (const WalPosition& log : logs) {
    if (obsolete_.contains(log.log)) continue;
    const auto known = state_.logs.find(log.log);
    if (known != state_.logs.end() && log.bytes <= known->second) continue;
    state_.logs[log.log] = log.bytes;
    PutEntry(Kind::kLog, log.log, log.bytes, &entries);
  }
  // After an error it waits for an entry that has to be made: the state has this one by then.
  if (!entries.empty() && file_ != nullptr) static_cast<void>(Add(entries, false));
}

void SyncLedger::ManifestSynced(const ManifestMark& manifest) {
  const base::MutexLock lock(&mu_);
  if (state_.manifest == manifest) return;
  state_.manifest = manifest;
  std::string entry;
  PutEntry(Kind::kManifest, manifest.number, manifest.bytes, &entry);
  static_cast<void>(Add(entry, true));
}

absl::Status SyncLedger::LogCut(uint64_t log, uint64_t bytes) {
  const base::MutexLock lock(&mu_);
  const auto known = state_.logs.find(log);
  if (known == state_.logs.end() || known->second <= bytes) return absl::OkStatus();
  const uint64_t before = std::exchange(known->second, bytes);
  std::string entry;
  PutEntry(Kind::kLog, log, bytes, &entry);
  const absl::Status status = Add(entry, true);
  if (!status.ok()) known->second = before;  // the file may say so still
  return status;
}

absl::Status SyncLedger::LogObsolete(uint64_t log) {
  const base::MutexLock lock(&mu_);
  obsolete_.insert(log);
  if (obsolete_.size() > kObsoleteMax) obsolete_.erase(obsolete_.begin());
  const auto known = state_.logs.find(log);
  if (known == state_.logs.end()) return absl::OkStatus();
  const uint64_t bytes = known->second;
  state_.logs.erase(known);
  std::string entry;
  PutEntry(Kind::kLogObsolete, log, 0, &entry);
  const absl::Status status = Add(entry, true);
  // The file may name it still: asked again, it has to be written again.
  if (!status.ok()) {
    obsolete_.erase(log);
    state_.logs[log] = bytes;
  }
  return status;
}

absl::Status SyncLedger::Closed(uint64_t sequence) {
  const base::MutexLock lock(&mu_);
  state_.sequence = sequence;
  std::string entry;
  PutEntry(Kind::kClosed, sequence, 0, &entry);
  return Add(entry, true);
}

absl::Status SyncLedger::Add(std::string_view entries, bool durable) {
  if (file_ == nullptr || file_->size() + entries.size() > kFileBytesMax) return Replace();
  absl::Status status = file_->Append(std::as_bytes(std::span(entries)));
  if (status.ok()) status = durable ? file_->Sync() : file_->Flush();
  // What a failed write or sync has left is unknown, and half an entry would shift those behind it.
  if (!status.ok()) file_ = nullptr;
  return status.ok() || !durable ? status : Replace();
}

// Not in place: half of it must never be what is read.
absl::Status SyncLedger::Replace() {
  file_ = nullptr;
  const std::string next = absl::StrCat(path_, ".new");
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<base::WritableFile> file,
                           fs_.OpenForWrite(next, base::WriteMode::kTruncate));
  const std::string bytes = Encode(state_);
  TESSERA_RETURN_IF_ERROR(file->Append(std::as_bytes(std::span(bytes))));
  TESSERA_RETURN_IF_ERROR(file->Sync());
  TESSERA_RETURN_IF_ERROR(fs_.Rename(next, path_));
  TESSERA_RETURN_IF_ERROR(fs_.SyncDirectory(ParentDirectory(path_)));
  file_ = std::move(file);
  return absl::OkStatus();
}

}  // namespace tessera::storage
