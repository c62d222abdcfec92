// The columns of an opened index version. Sets that versions share are loaded once, and so is what
// is in memory of them.
//
// Threads: immutable once charged; shared by every search.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"

#include "base/memory_budget.h"
#include "storage/page_cache.h"
#include "version/columns/column_directory.h"

namespace tessera::version {

// A set with the table of its units, which are numbered as in ColumnSet::units.
struct LoadedColumns {
  LoadedColumns(storage::PageCache& cache, uint64_t number, ColumnSet of);
  uint64_t memory_bytes() const;

  const uint64_t serial;  // no other set of the process has it
  const ColumnSet set;
  const std::unordered_map<std::string_view, uint32_t> path_numbers;  // of set.paths
  storage::FrameTable table;
  base::MemoryReservation memory;
};

class ColumnTable {
 public:
  ColumnTable() = default;
  // Sets that `base` has as well are shared with it. `cache` outlives the table.
  ColumnTable(storage::PageCache& cache, std::vector<ColumnSet> sets,
              const ColumnTable* base = nullptr);

  // Charges the sets that no other table is charged for. Errors: kResourceExhausted.
  absl::Status Charge(base::MemoryBudget& budget, std::string_view component);

  storage::PageCache& cache() const { return *cache_; }
  const std::vector<std::shared_ptr<LoadedColumns>>& sets() const { return sets_; }
  // Whether both have the very same set.
  bool Shares(size_t number, const ColumnTable& other) const;
  std::set<uint32_t> files() const;
  uint64_t memory_bytes() const;
  uint64_t disk_bytes() const;

 private:
  storage::PageCache* cache_ = nullptr;
  std::vector<std::shared_ptr<LoadedColumns>> sets_;
};

}  // namespace tessera::version
