// Loads and deletes many rows at once: sorted table files, written beside the store and taken over
// by it in one atomic step. Much cheaper per row than Write, and nothing is logged.
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

  // Puts and deletions of a table come in one ascending order of keys.
  //
  // Errors: kInvalidArgument unless `key` is behind the table's last one and not too long;
  //         kFailedPrecondition after Commit; kResourceExhausted for no space; kAborted if the
  //         store has had to recover from an error since the writer was made. After an error of
  //         the file system every call answers the same.
  absl::Status Put(Table table, std::string_view key, std::string_view value);
  // OK if the table has no such key.
  absl::Status Delete(Table table, std::string_view key);

  // Makes all changes visible in one step, above what the tables had under the same keys at this
  // moment; they are durable then, and so is every write before them.
  //
  // Errors: as above. Nothing is visible then, but after an error of the file system the changes
  //         may be found, whole, when the store is opened again.
  absl::Status Commit();

  // Puts and deletions so far.
  uint64_t row_count() const { return row_count_; }

 private:
  struct Output;

  BulkWriter(std::shared_ptr<RocksDb> db, std::string dir);
  // The table's output with a file that takes `key` next.
  absl::StatusOr<Output*> OutputFor(Table table, std::string_view key);
  absl::Status Begin(Table table, Output* output);
  absl::Status Added(std::string_view key, Output* output);
  // Remembers an error.
  absl::Status Note(absl::Status status);
  absl::Status Finish(Output* output);

  const std::shared_ptr<RocksDb> db_;
  const std::string dir_;
  std::array<std::unique_ptr<Output>, kTableCount> outputs_;
  uint64_t next_file_ = 0;
  uint64_t row_count_ = 0;
  bool committed_ = false;
  absl::Status failed_;
};

}  // namespace tessera::storage
