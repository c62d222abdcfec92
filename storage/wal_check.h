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
// Limit: what the last sync before a crash made durable has no watermark behind it, so damage
// there is taken for a torn tail; after a clean close there is one.
//
// Private to storage/. Threads: one at a time per directory.
// Source:  RocksDB's log format is LevelDB's (doc/log_format.md): blocks of 32 KiB with records of
//          u32 masked crc32c of the rest, u16 length, u8 type (full, first, middle, last), data.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

#include "base/file_system.h"
#include "storage/wal_tracker.h"

namespace tessera::storage {

// What every write carries as its log data: u8 'W', varint log, varint bytes.
std::string EncodeWatermark(const WalPosition& durable);
// False for anything else.
bool DecodeWatermark(std::string_view bytes, WalPosition* durable);

// Leaves logs in `dir` that are whole and durable.
//
// Pre:    nobody else uses the directory.
// Errors: kDataLoss if something durable is damaged, nothing is changed then; what the file system
//         answers.
// Cost:   reads every log once; one fdatasync per log.
absl::Status CheckLogs(base::FileSystem& fs, const std::string& dir);

// Drops what a store that has failed wrote to its logs behind the last write it published: nobody
// was told that it succeeded.
//
// Pre:    nobody writes to the directory.
// Errors: what the file system answers.
// Cost:   reads every log once.
absl::Status CutLogsBehind(base::FileSystem& fs, const std::string& dir, uint64_t last_sequence);

}  // namespace tessera::storage
