// RocksDB's statuses in Abseil's words, and back: the one place where they are translated.
//
// Private to storage/. Threads: any.
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace rocksdb {
class IOStatus;
class Status;
}  // namespace rocksdb

namespace tessera::storage {

// "<what>: <RocksDB's text>" with the code a caller may branch on: kDataLoss for damaged bytes,
// kResourceExhausted for no space and for a full block cache, kUnavailable for what may pass by
// itself, kPermissionDenied, kUnimplemented for a newer format, kInternal for other I/O errors.
absl::Status FromRocks(const rocksdb::Status& status, std::string_view what);

// What RocksDB must know of a file system's answer: missing, no space, damaged, or failed.
rocksdb::IOStatus ToRocks(const absl::Status& status);

}  // namespace tessera::storage
