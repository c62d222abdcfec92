// A list of rows of any length in bounded memory: the first ones are in memory, all of them in a
// scratch file once they are many.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "base/types.h"
#include "version/build/record_spool.h"
#include "version/context.h"

namespace tessera::db {

class RowList {
 public:
  // Rows of a portion, and those kept in memory at most.
  static constexpr size_t kPortionRows = size_t{1} << 15;

  explicit RowList(version::Context& context) : context_(context) {}

  // An error of the scratch file is remembered and answered by ForEachPortion.
  void Add(base::RowId row);
  uint64_t size() const { return spilled_ + rows_.size(); }

  // The rows in the order they were added, at most kPortionRows at a time; may be called again.
  // Nothing is added any more. Errors: those of `visit` and of the scratch file.
  absl::Status ForEachPortion(
      absl::FunctionRef<absl::Status(std::span<const base::RowId> rows)> visit);

 private:
  absl::Status Spill();

  version::Context& context_;
  std::vector<base::RowId> rows_;
  std::unique_ptr<version::RecordSpool> spool_;  // null: all are in rows_
  uint64_t spilled_ = 0;
  bool reading_ = false;
  absl::Status failed_;
};

}  // namespace tessera::db
