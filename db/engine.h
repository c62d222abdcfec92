// What the collections of an open data directory share.
//
// Directory:  LOCK            held while the directory is open
//             rows/           the row store
//             rows.synced     what of it is known to be durable
//             extents/        extent files
//             scratch/        spools of running loads; emptied at open
//
// Threads: every member synchronises itself or is fixed after OpenEngine.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/files/file_system.h"
#include "base/memory_budget.h"
#include "base/mutex.h"
#include "db/database.h"
#include "db/filters/parsed_filters.h"
#include "db/jobs/build_memory.h"
#include "db/jobs/fresh_budget.h"
#include "db/jobs/scheduler.h"
#include "db/searcher_pool.h"
#include "query/helper_pool.h"
#include "storage/extent_store.h"
#include "storage/page_cache.h"
#include "storage/read_batch.h"
#include "storage/row_store.h"
#include "version/columns/match_cache.h"
#include "version/context.h"
#include "version/extent_files.h"
#include "version/index_version.h"

namespace tessera::db {

// How one memory limit is divided. What is left over is room for heads, requests and the runtime.
struct MemoryPlan {
  uint64_t limit_bytes = 0;
  uint64_t page_cache_bytes = 0;
  uint64_t cache_reserve_bytes = 0;  // for what searches pin and read when the rest is taken
  uint64_t row_cache_bytes = 0;
  uint64_t write_buffer_bytes = 0;
  uint64_t process_bytes = 0;  // code, stacks, gRPC, what nobody accounts for
  uint64_t fresh_bytes_max = 0;
  uint64_t build_bytes_max = 0;        // of one index build or load
  uint64_t match_cache_bytes_max = 0;  // of what filters match
};

// Pre: limit_bytes >= kMemoryLimitFloor.
MemoryPlan PlanMemory(uint64_t limit_bytes);

struct Engine {
  base::FileSystem* fs = nullptr;
  std::string path;
  std::string scratch_path;
  bool read_only = false;
  int threads = 1;
  MemoryPlan plan;
  // Destroyed in reverse: the budget and the lock outlive everything charged to them.
  std::unique_ptr<base::FileLock> lock;
  std::unique_ptr<base::MemoryBudget> budget;
  base::MemoryReservation fixed;  // row store and process
  std::unique_ptr<storage::RowStore> rows;
  std::unique_ptr<storage::ExtentStore> extents;
  std::unique_ptr<storage::ReadEngine> reads;
  std::unique_ptr<storage::PageCache> cache;
  std::unique_ptr<version::ExtentFiles> files;
  version::Context versions;
  std::unique_ptr<version::MatchCache> matches;
  ParsedFilters filters;
  std::unique_ptr<FreshBudget> fresh;
  std::unique_ptr<BuildMemory> builds;  // null when open for reading only
  SearcherPool searchers;
  std::unique_ptr<query::HelperPool> helpers;  // of all batches of searches together
  std::atomic<bool> closing{false};
  Scheduler scheduler;

  // kFailedPrecondition if the directory is open for reading only.
  absl::Status CheckWritable() const;
  // Errors: kCancelled once the database closes.
  absl::Status CheckOpen() const;
  // Keeps the versions, and their files, until the directory is closed.
  void KeepForever(std::vector<std::shared_ptr<const version::IndexVersion>> versions);

 private:
  base::Mutex kept_mu_;
  std::vector<std::shared_ptr<const version::IndexVersion>> kept_ ABSL_GUARDED_BY(kept_mu_);
};

// Locks the directory and opens its stores. Errors: as Database::Open.
absl::StatusOr<std::unique_ptr<Engine>> OpenEngine(const std::string& path,
                                                   const DatabaseOptions& options);

}  // namespace tessera::db
