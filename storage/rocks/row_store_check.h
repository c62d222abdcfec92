// Whether a row store's directory has everything that was durable, looked at before RocksDB sees
// it.
//
// RocksDB trusts what it finds: a manifest that ends early is an older manifest, and the table
// files it does not name are removed; a directory without CURRENT is a new store. So what the
// ledger knows (sync_ledger.h) is compared with what is there first, and whatever is missing is
// kDataLoss. What the manifest names, RocksDB itself demands with the right lengths.
//
// Private to storage/. Threads: one at a time per directory.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "base/files/file_system.h"
#include "storage/rocks/sync_ledger.h"
#include "storage/rocks/wal_check.h"

namespace tessera::storage {

struct RowStoreFindings {
  std::optional<ManifestMark> manifest;  // that CURRENT names, whole bytes; none: there is no store
  std::vector<LogVerdict> logs;
};

// Changes nothing.
//
// Errors: kDataLoss naming the file, what is missing of it and what an operator can do; what the
//         file system answers.
// Cost:   reads the manifest and every log once.
absl::StatusOr<RowStoreFindings> ExamineRowStore(base::FileSystem& fs, const std::string& dir,
                                                 const LedgerState& ledger);

// Whether there is a store, or none as far as anything shows: without CURRENT, kDataLoss if the
// ledger or other files tell of one.
absl::StatusOr<bool> RowStoreExists(base::FileSystem& fs, const std::string& dir,
                                    const LedgerState& ledger);

}  // namespace tessera::storage
