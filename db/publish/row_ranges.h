// Deleting many rows of the row store by key range, in portions. RocksDB's own range deletions are
// avoided: they make every later read of the table slower, and version 7.8 aborts when a compaction
// is left with nothing else.
#pragma once

#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "storage/row_store.h"

namespace tessera::db {

// Keys from `first` to before `end`; "" is no bound.
struct KeyRange {
  std::string first;
  std::string end;
};

// Deletes every key with `prefix` in the range. Not atomic, may be called again after a failure.
// `go_on` is asked between portions; its error ends it.
// Pre: nobody writes such keys meanwhile. Memory: a portion of a megabyte.
absl::Status DeleteKeys(storage::RowStore& rows, storage::Table table, std::string_view prefix,
                        const KeyRange& range, absl::FunctionRef<absl::Status()> go_on);

}  // namespace tessera::db
