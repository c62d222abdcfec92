// Loads many rows at once: sorted table files, written beside the store and taken over by it in
// one atomic step. Much cheaper per row than Write, and nothing is logged.
//
// Threads: one at a time per writer; any number of writers.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "storage/row_store.h"

namespace tessera::storage {

// Dropping a writer that was not committed removes its files; so does the next open of the store
// after a crash.
class BulkWriter {
 public:
  // For RowStore::NewBulkWriter.
  static absl::StatusOr<std::unique_ptr<BulkWriter>> Create(std::shared_ptr<RocksDb> db);
  ~BulkWriter();
  BulkWriter(const BulkWriter&) = delete;
  BulkWriter& operator=(const BulkWriter&) = delete;

  // Errors: kInvalidArgument unless `key` is behind the table's last one and not too long;
  //         kFailedPrecondition after Commit; kResourceExhausted for no space. After an error of
  //         the file system the writer is of no more use.
  absl::Status Put(Table table, std::string_view key, std::string_view value);

  // Makes all rows visible in one step, durably, above what the tables had under the same keys.
  // On error nothing is visible.
  absl::Status Commit();

  uint64_t row_count() const { return row_count_; }

 private:
  struct Output;

  BulkWriter(std::shared_ptr<RocksDb> db, std::string dir);
  absl::Status Begin(Table table, Output* output);
  absl::Status Finish(Output* output);

  const std::shared_ptr<RocksDb> db_;
  const std::string dir_;
  std::array<std::unique_ptr<Output>, kTableCount> outputs_;
  uint64_t next_file_ = 0;
  uint64_t row_count_ = 0;
  bool committed_ = false;
};

}  // namespace tessera::storage
