// Brings the rows of an index build from the order of their spool into the order of lists, within a
// memory bound.
//
// PartPlan fixes before any row is moved which part and slot each row gets: rows of a list keep the
// order of the spool. So the row locations are written by one pass over the assigned lists, and the
// records are moved in groups of consecutive parts that fit the memory: in memory when one group
// holds them all, else through one spool per group, a bounded number of groups at a time.
//
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/types.h"
#include "version/build/build_pace.h"
#include "version/build/record_spool.h"
#include "version/context.h"
#include "version/location_table.h"

namespace tessera::version {

// The list a row was assigned to.
struct AssignedRow {
  base::RowId row;
  uint32_t list = 0;
};

// A spool of assigned rows.
class AssignmentSpool {
 public:
  static absl::StatusOr<AssignmentSpool> Create(Context& context);

  absl::Status Append(const AssignedRow& row);
  absl::Status FinishWriting() { return spool_->FinishWriting(); }
  absl::Status Read(uint64_t first, size_t count, std::vector<AssignedRow>* rows);
  uint64_t count() const { return spool_->record_count(); }

 private:
  explicit AssignmentSpool(std::unique_ptr<RecordSpool> spool) : spool_(std::move(spool)) {}
  std::unique_ptr<RecordSpool> spool_;
  std::vector<std::byte> buffer_;
};

// Raw records and, in the same order, the lists of their rows.
struct RowSource {
  const RecordSpool* records = nullptr;
  AssignmentSpool* lists = nullptr;
};

struct PlannedPart {
  uint32_t list = 0;
  uint32_t rows = 0;
  uint32_t first_block = 0;
};

class PartPlan {
 public:
  // list_rows: how many rows each list gets. Lists of more than part_rows_max rows (a multiple of
  // index::kBlockRows) are cut into equal parts. Positions begin at 64 * first_block.
  // Errors: kResourceExhausted when there are more than 2^32 blocks.
  static absl::StatusOr<PartPlan> Create(std::span<const uint32_t> list_rows,
                                         uint32_t part_rows_max, uint64_t first_block);

  const std::vector<PlannedPart>& parts() const { return parts_; }
  size_t list_count() const { return first_part_.size(); }
  uint64_t end_block() const { return end_block_; }

 private:
  friend class PartWalk;
  std::vector<PlannedPart> parts_;
  std::vector<uint32_t> first_part_;  // of each list
  uint64_t end_block_ = 0;
};

// Gives each row its place, row after row.
class PartWalk {
 public:
  struct Place {
    uint32_t part = 0;
    uint32_t slot = 0;
  };
  explicit PartWalk(const PartPlan& plan) : plan_(plan), next_(plan.list_count()) {}
  // The place of the next row of `list`.
  Place Next(uint32_t list) {
    const uint32_t first = plan_.first_part_[list];
    const uint32_t rows = plan_.parts_[first].rows;  // all but the last part of a list have as many
    const uint32_t number = next_[list]++;
    return {.part = first + number / rows, .slot = number % rows};
  }

 private:
  const PartPlan& plan_;
  std::vector<uint32_t> next_;
};

// The rows of parts [first_part, end_part), in memory.
class RowGroup {
 public:
  uint32_t first_part = 0;
  uint32_t end_part = 0;

  // Pre: first_part <= part < end_part; slot below the part's rows.
  const std::byte* Record(uint32_t part, uint32_t slot) const {
    return bytes_.data() + size_t{order_[begin_[part - first_part] + slot]} * stride_ +
           sizeof(uint32_t);
  }

 private:
  friend class RowGrouper;
  // Each row: its part (u32), then its record.
  std::vector<std::byte> bytes_;
  size_t stride_ = 0;
  std::vector<uint32_t> order_;
  std::vector<uint32_t> begin_;
};

struct PartitionOptions {
  uint64_t group_bytes = 0;   // of the rows of one group
  uint64_t buffer_bytes = 0;  // of all spools being written
  BuildPace pace = {};
};

// Calls `use` with all parts of the plan in order, in groups.
// Errors: those of `use` and of the file system; kCancelled.
absl::Status ForEachGroup(Context& context, std::span<const RowSource> sources,
                          const PartPlan& plan, const PartitionOptions& options,
                          absl::FunctionRef<absl::Status(const RowGroup&)> use);

// Calls `use` with the location of every row, in the order of the source.
absl::Status ForEachLocation(std::span<const RowSource> sources, const PartPlan& plan,
                             absl::FunctionRef<absl::Status(size_t source, RowLocation)> use);

}  // namespace tessera::version
