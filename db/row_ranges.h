// Deleting many rows of the row store by key range. RocksDB's own range deletions are avoided: they
// make every later read of the table slower, and version 7.8 aborts when a compaction is left with
// nothing else.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

#include "storage/row_store.h"

namespace tessera::db {

// Adds the deletion of every key with `prefix` below `end` to `writes`; "" has no end.
// Pre: nobody writes such keys until `writes` is applied. Memory: O(keys).
absl::Status DeleteKeys(const storage::RowStore& rows, storage::Table table,
                        std::string_view prefix, std::string_view end, storage::WriteSet* writes);

// Deletes every key with `prefix`, in portions: not atomic, may be called again after a failure.
absl::Status DeleteAllKeys(storage::RowStore& rows, storage::Table table, std::string_view prefix);

}  // namespace tessera::db
