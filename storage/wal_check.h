// Decides, before RocksDB sees them, what is to be done about damaged write-ahead logs.
//
// Private to storage/. Threads: one at a time per directory.
// Source:  the format of RocksDB's logs, "Write-Ahead-Log-File-Format" in its documentation; it is
//          LevelDB's (doc/log_format.md).
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "base/file_system.h"
#include "storage/wal_tracker.h"

namespace tessera::storage {

// What every write carries as its log data. Parsing answers false for anything else.
std::string EncodeWatermark(const WalPosition& durable);
bool DecodeWatermark(std::string_view bytes, WalPosition* durable);

}  // namespace tessera::storage
