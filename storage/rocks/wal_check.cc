#include "storage/rocks/wal_check.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "base/status_macros.h"
#include "storage/rocks/masked_crc.h"

namespace tessera::storage {
namespace {

constexpr size_t kBlockBytes = 32768;
constexpr size_t kHeaderBytes = 7;
constexpr uint8_t kWatermarkKind = 'W';

// RocksDB's write batch: u64 sequence, u32 count, then operations; ours begin with log data.
constexpr size_t kBatchHeaderBytes = 12;
constexpr uint8_t kLogDataTag = 3;
constexpr size_t kRecordStartBytes = 64;  // enough for both and the watermark

enum class FragmentType : uint8_t { kFull = 1, kFirst = 2, kMiddle = 3, kLast = 4 };

struct Fragment {
  FragmentType type;
  std::span<const std::byte> data;
};

// The fragment that `bytes`, a block's rest, begins with.
std::optional<Fragment> ParseFragment(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderBytes) return std::nullopt;
  const size_t length = base::LoadU16(bytes.data() + 4);
  const auto type = static_cast<uint8_t>(bytes[6]);
  if (type < 1 || type > 4 || length > bytes.size() - kHeaderBytes) return std::nullopt;
  // The checksum is of type and data.
  if (base::Crc32c(bytes.subspan(6, 1 + length)) != UnmaskCrc(base::LoadU32(bytes.data()))) {
    return std::nullopt;
  }
  return Fragment{static_cast<FragmentType>(type), bytes.subspan(kHeaderBytes, length)};
}

bool AllZero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

// Reads one log from front to back. After damage it goes on at whatever checks out next, only to
// find watermarks.
class LogScan {
 public:
  LogScan(uint64_t number, uint64_t last_sequence)
      : number_(number), last_sequence_(last_sequence) {}

  // The next block of the file; all but the last are full.
  void AddBlock(std::span<const std::byte> block) {
    size_t at = 0;
    while (at < block.size()) {
      const std::span<const std::byte> rest = block.subspan(at);
      const bool trailer = kBlockBytes - at < kHeaderBytes;
      if (trailer && AllZero(rest)) {
        at = block.size();
      } else if (const std::optional<Fragment> fragment = ParseFragment(rest)) {
        at += kHeaderBytes + fragment->data.size();
        AddFragment(*fragment, bytes_ + at);
      } else {
        Damage();
        ++at;
      }
    }
    bytes_ += block.size();
  }

  void End() {
    if (in_record_) Damage();
  }

  uint64_t number() const { return number_; }
  uint64_t bytes() const { return bytes_; }
  bool damaged() const { return damaged_; }
  // Where the last record before any damage ends.
  WalPosition whole() const { return {number_, whole_bytes_}; }
  // The highest watermark in any record.
  WalPosition durable() const { return durable_; }
  // Where the first record behind the last sequence begins.
  std::optional<uint64_t> behind_last() const { return behind_last_; }

 private:
  void Damage() {
    damaged_ = true;
    in_record_ = false;
  }

  void AddFragment(const Fragment& fragment, uint64_t end) {
    const bool begins =
        fragment.type == FragmentType::kFull || fragment.type == FragmentType::kFirst;
    if (begins == in_record_) Damage();  // a record without its end, or an end without its record
    if (begins) {
      record_start_.clear();
      record_begin_ = end - fragment.data.size() - kHeaderBytes;
      in_record_ = true;
    }
    if (!in_record_) return;
    const size_t wanted = kRecordStartBytes - record_start_.size();
    const std::span<const std::byte> start =
        fragment.data.first(std::min(wanted, fragment.data.size()));
    record_start_.append(reinterpret_cast<const char*>(start.data()), start.size());
    if (fragment.type == FragmentType::kFirst || fragment.type == FragmentType::kMiddle) return;
    in_record_ = false;
    if (!damaged_) whole_bytes_ = end;
    TakeRecordStart();
  }

  void TakeRecordStart() {
    if (record_start_.size() < kBatchHeaderBytes) return;
    base::Decoder decoder(record_start_);
    uint64_t sequence = 0;
    uint32_t count = 0;
    if (decoder.U64(&sequence).ok() && sequence > last_sequence_ && !behind_last_.has_value()) {
      behind_last_ = record_begin_;
    }
    uint8_t tag = 0;
    std::string_view log_data;
    WalPosition found;
    if (decoder.U32(&count).ok() && decoder.U8(&tag).ok() && tag == kLogDataTag &&
        decoder.Bytes(&log_data).ok() && DecodeWatermark(log_data, &found) &&
        found.log <= number_) {
      durable_ = std::max(durable_, found);
    }
  }

  uint64_t number_;
  uint64_t last_sequence_;
  uint64_t bytes_ = 0;
  uint64_t whole_bytes_ = 0;
  bool damaged_ = false;
  bool in_record_ = false;
  uint64_t record_begin_ = 0;
  std::string record_start_;
  WalPosition durable_;
  std::optional<uint64_t> behind_last_;
};

absl::StatusOr<LogScan> ScanLog(base::FileSystem& fs, const std::string& path, uint64_t number,
                                uint64_t last_sequence = std::numeric_limits<uint64_t>::max()) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<base::RandomAccessFile> file,
                           fs.OpenForRead(path, {}));
  LogScan scan(number, last_sequence);
  std::vector<std::byte> block(kBlockBytes);
  for (;;) {
    TESSERA_ASSIGN_OR_RETURN(const size_t got, file->Read(scan.bytes(), block));
    scan.AddBlock(std::span(block).first(got));
    if (got < kBlockBytes) break;
  }
  scan.End();
  return scan;
}

// Cuts the file to `bytes`, if there are any to cut to, and makes it durable.
absl::Status CutAndSync(base::FileSystem& fs, const std::string& path,
                        std::optional<uint64_t> bytes) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<base::WritableFile> file,
                           fs.OpenForWrite(path, base::WriteMode::kAppend));
  if (bytes.has_value()) TESSERA_RETURN_IF_ERROR(file->Truncate(*bytes));
  TESSERA_RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

// The logs by number.
absl::StatusOr<std::vector<std::pair<uint64_t, std::string>>> ListLogs(base::FileSystem& fs,
                                                                       const std::string& dir) {
  TESSERA_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(dir));
  std::vector<std::pair<uint64_t, std::string>> paths;
  for (const std::string& name : names) {
    if (const std::optional<uint64_t> number = WalNumber(name); number.has_value()) {
      paths.emplace_back(*number, base::JoinPath(dir, name));
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

std::string EncodeWatermark(const WalPosition& durable) {
  std::string bytes;
  base::PutU8(&bytes, kWatermarkKind);
  base::PutVarint64(&bytes, durable.log);
  base::PutVarint64(&bytes, durable.bytes);
  return bytes;
}

bool DecodeWatermark(std::string_view bytes, WalPosition* durable) {
  base::Decoder decoder(bytes);
  uint8_t kind = 0;
  return decoder.U8(&kind).ok() && kind == kWatermarkKind && decoder.Varint64(&durable->log).ok() &&
         decoder.Varint64(&durable->bytes).ok() && decoder.ExpectEnd().ok();
}

absl::Status CutLogsBehind(base::FileSystem& fs, const std::string& dir, uint64_t last_sequence,
                           absl::FunctionRef<absl::Status(const WalPosition&)> before_cut) {
  TESSERA_ASSIGN_OR_RETURN(const auto paths, ListLogs(fs, dir));
  for (const auto& [number, path] : paths) {
    TESSERA_ASSIGN_OR_RETURN(const LogScan scan, ScanLog(fs, path, number, last_sequence));
    if (scan.behind_last().has_value()) {
      TESSERA_RETURN_IF_ERROR(before_cut({number, *scan.behind_last()}));
      TESSERA_RETURN_IF_ERROR(CutAndSync(fs, path, scan.behind_last()));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<LogVerdict>> JudgeLogs(base::FileSystem& fs, const std::string& dir,
                                                  const std::map<uint64_t, uint64_t>& synced) {
  TESSERA_ASSIGN_OR_RETURN(const auto paths, ListLogs(fs, dir));
  std::vector<LogVerdict> verdicts;
  // A log that must be there and is not has nothing whole.
  std::map<uint64_t, uint64_t> whole;
  for (const auto& [log, bytes] : synced) whole[log] = 0;
  WalPosition durable;
  for (const auto& [number, path] : paths) {
    TESSERA_ASSIGN_OR_RETURN(const LogScan scan, ScanLog(fs, path, number));
    verdicts.push_back(
        {.path = path, .whole = scan.whole(), .bytes = scan.bytes(), .damaged = scan.damaged()});
    whole[number] = scan.whole().bytes;
    durable = std::max(durable, scan.durable());
  }
  for (const auto& [log, bytes] : synced) {
    if (whole[log] >= bytes) continue;
    const auto found =
        std::find_if(verdicts.begin(), verdicts.end(),
                     [wanted = log](const auto& v) { return v.whole.log == wanted; });
    return absl::DataLossError(
        found == verdicts.end()
            ? absl::StrCat("row store log ", log, " is missing in ", dir, ", of which ", bytes,
                           " bytes were synced")
            : absl::StrCat("row store log ", found->path, " is damaged at byte ", whole[log],
                           " of ", found->bytes, ", but ", bytes, " bytes of it were synced"));
  }
  for (const LogVerdict& log : verdicts) {
    const bool too_short = log.whole.log == durable.log;
    if ((log.damaged || too_short) && log.whole < durable) {
      return absl::DataLossError(absl::StrCat(
          "row store log ", log.path, " is damaged at byte ", log.whole.bytes, " of ", log.bytes,
          ", but everything up to byte ", durable.bytes, " of log ", durable.log, " was synced"));
    }
  }
  const auto torn =
      std::find_if(verdicts.begin(), verdicts.end(), [](const auto& log) { return log.damaged; });
  if (torn != verdicts.end()) {
    std::for_each(torn + 1, verdicts.end(), [](LogVerdict& log) { log.kept = false; });
  }
  return verdicts;
}

absl::Status MendLogs(base::FileSystem& fs, const std::string& dir,
                      const std::vector<LogVerdict>& verdicts) {
  // Later logs go first: as long as the torn one is torn, the next open does this again.
  for (auto log = verdicts.rbegin(); log != verdicts.rend() && !log->kept; ++log) {
    TESSERA_RETURN_IF_ERROR(fs.RemoveFile(log->path));
  }
  // Also the names of those that stay: a killed process may not have come to it, and a log that is
  // said to be durable must not vanish in a power cut.
  TESSERA_RETURN_IF_ERROR(fs.SyncDirectory(dir));
  // Synced as well where nothing is wrong: a log that RocksDB has replayed may outlive a power cut
  // for a while, and must not turn into a torn one behind which acknowledged writes follow.
  for (const LogVerdict& log : verdicts) {
    if (!log.kept) break;
    TESSERA_RETURN_IF_ERROR(
        CutAndSync(fs, log.path, log.damaged ? std::optional(log.whole.bytes) : std::nullopt));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> WholeBytes(base::FileSystem& fs, const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(const LogScan scan, ScanLog(fs, path, 0));
  return scan.whole().bytes;
}

}  // namespace tessera::storage
