// Decides, before RocksDB sees them, what is to be done about damaged write-ahead logs.
//
// A log that ends badly is one of two things: the torn tail of a power cut or kill, where nobody
// was promised anything, or the loss of what was synced. RocksDB's recovery modes cannot tell them
// apart: kPointInTimeRecovery and kTolerateCorruptedTailRecords (which also skips zeroed pages)
// can drop acknowledged writes without a word, and kAbsoluteConsistency refuses every torn tail.
// So every write carries a watermark, how far the logs were durable when it was made, and damage
// before the highest watermark found anywhere is kDataLoss. Other damage is a torn tail: the log
// is cut there and later logs are removed, so that what is left is a prefix of the history; then
// RocksDB opens with kAbsoluteConsistency, as a second opinion.
//
// What the last sync made durable has no watermark behind it, and a log that is gone has none at
// all. For that there is the ledger (sync_ledger.h), which the judgement is given.
//
// Private to storage/. Threads: one at a time per directory.
// Source:  RocksDB's log format is LevelDB's (doc/log_format.md): blocks of 32 KiB with records of
//          u32 masked crc32c of the rest, u16 length, u8 type (full, first, middle, last), data.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/files/file_system.h"
#include "storage/rocks/wal_tracker.h"

namespace tessera::storage {

// What every write carries as its log data: u8 'W', varint log, varint bytes.
std::string EncodeWatermark(const WalPosition& durable);
// False for anything else.
bool DecodeWatermark(std::string_view bytes, WalPosition* durable);

// What is to be done about one log.
struct LogVerdict {
  std::string path;
  WalPosition whole;     // number, and where its last whole record ends
  uint64_t bytes = 0;    // its length
  bool damaged = false;  // there is something behind the last whole record
  bool kept = true;      // false: it is behind a torn one
};

// Judges the logs in `dir`, ascending. `synced`: durable lengths of logs that must be there.
//
// Errors: kDataLoss if something durable is damaged or missing; what the file system answers.
// Cost:   reads every log once.
absl::StatusOr<std::vector<LogVerdict>> JudgeLogs(base::FileSystem& fs, const std::string& dir,
                                                  const std::map<uint64_t, uint64_t>& synced);

// Leaves logs in `dir` that are whole and durable, as judged.
//
// Pre:    nobody else uses the directory.
// Errors: what the file system answers.
// Cost:   one fdatasync per log, one fsync of the directory.
absl::Status MendLogs(base::FileSystem& fs, const std::string& dir,
                      const std::vector<LogVerdict>& verdicts);

// Where the last whole record of a file in the logs' format ends; manifests have it too.
absl::StatusOr<uint64_t> WholeBytes(base::FileSystem& fs, const std::string& path);

// Drops what a store that has failed wrote to its logs behind the last write it published: nobody
// was told that it succeeded. `before_cut` is told of each log what is to be left of it.
//
// Pre:    nobody writes to the directory.
// Errors: what the file system answers.
// Cost:   reads every log once.
absl::Status CutLogsBehind(base::FileSystem& fs, const std::string& dir, uint64_t last_sequence,
                           absl::FunctionRef<absl::Status(const WalPosition&)> before_cut);

}  // namespace tessera::storage
