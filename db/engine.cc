#include "db/engine.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "db/data_directory.h"

namespace tessera::db {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr int kReadThreads = 16;
constexpr uint64_t kReadReserveBytes = kMiB;

uint64_t MachineMemoryBytes() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<uint64_t>(sysconf(_SC_PAGE_SIZE));
}

int MachineThreads() {
  return std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
}

absl::Status OpenStores(Engine& engine) {
  // One that only reads builds nothing: that share has room for what it cannot flush.
  const uint64_t log_bytes =
      engine.read_only ? storage::kLogBytesPerWriteBuffer * engine.plan.write_buffer_bytes : 0;
  TESSERA_ASSIGN_OR_RETURN(
      engine.fixed, engine.budget->Reserve("row store and process",
                                           engine.plan.process_bytes + engine.plan.row_cache_bytes +
                                               engine.plan.write_buffer_bytes + log_bytes));
  TESSERA_ASSIGN_OR_RETURN(
      engine.rows, storage::RowStore::Open(*engine.fs, base::JoinPath(engine.path, kRowsName),
                                           {.block_cache_bytes = engine.plan.row_cache_bytes,
                                            .write_buffer_bytes = engine.plan.write_buffer_bytes,
                                            .read_only = engine.read_only}));
  TESSERA_ASSIGN_OR_RETURN(
      engine.extents,
      storage::ExtentStore::Open(*engine.fs, base::JoinPath(engine.path, kExtentsName), 1,
                                 {.read_only = engine.read_only}));
  engine.reads = std::make_unique<storage::PreadPool>(kReadThreads);
  TESSERA_ASSIGN_OR_RETURN(
      engine.cache, storage::PageCache::Create(
                        *engine.extents, *engine.reads, *engine.budget,
                        {.capacity_bytes = engine.plan.page_cache_bytes,
                         .pin_reserve_bytes = engine.plan.cache_reserve_bytes - kReadReserveBytes,
                         .read_reserve_bytes = kReadReserveBytes}));
  engine.files = std::make_unique<version::ExtentFiles>(*engine.extents);
  TESSERA_ASSIGN_OR_RETURN(engine.fresh,
                           FreshBudget::Create(*engine.budget, engine.plan.fresh_bytes_max));
  // What only reads builds nothing.
  if (!engine.read_only) {
    TESSERA_ASSIGN_OR_RETURN(engine.builds,
                             BuildMemory::Create(*engine.budget, engine.plan.build_bytes_max));
  }
  version::Context& versions = engine.versions;
  versions.fs = engine.fs;
  versions.scratch_path = engine.scratch_path;
  versions.threads = engine.threads;
  versions.budget = engine.budget.get();
  versions.extents = engine.extents.get();
  versions.reads = engine.reads.get();
  versions.cache = engine.cache.get();
  versions.files = engine.files.get();
  return absl::OkStatus();
}

}  // namespace

absl::Status Engine::CheckOpen() const {
  return closing.load() ? absl::CancelledError("the database is closing") : absl::OkStatus();
}

void Engine::KeepForever(std::vector<std::shared_ptr<const version::IndexVersion>> replaced) {
  base::MutexLock kept_lock(&kept_mu_);
  for (auto& version : replaced) kept_.push_back(std::move(version));
}

MemoryPlan PlanMemory(uint64_t limit_bytes) {
  MemoryPlan plan{.limit_bytes = limit_bytes};
  plan.process_bytes = std::min(40 * kMiB + limit_bytes / 32, 256 * kMiB);
  plan.row_cache_bytes = std::clamp(limit_bytes / 24, 8 * kMiB, 256 * kMiB);
  plan.write_buffer_bytes = std::clamp(limit_bytes / 24, 8 * kMiB, 128 * kMiB);
  const uint64_t rest =
      limit_bytes - plan.process_bytes - plan.row_cache_bytes - plan.write_buffer_bytes;
  plan.page_cache_bytes = rest / 100 * 42;
  plan.cache_reserve_bytes = std::clamp(rest / 32, 4 * kMiB, 32 * kMiB);
  plan.fresh_bytes_max = rest / 100 * 10;
  plan.build_bytes_max = rest / 100 * 30;
  plan.match_cache_bytes_max = rest / 100 * 3;
  return plan;
}

absl::Status Engine::CheckWritable() const {
  if (!read_only) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "data directory ", path, " is open for reading only; open it for writing to change it"));
}

absl::StatusOr<std::unique_ptr<Engine>> OpenEngine(const std::string& path,
                                                   const DatabaseOptions& options) {
  auto engine = std::make_unique<Engine>();
  engine->fs = options.fs != nullptr ? options.fs : &base::PosixFileSystem();
  engine->path = path;
  engine->scratch_path = base::JoinPath(path, kScratchName);
  engine->threads = options.threads > 0 ? options.threads : MachineThreads();
  // A batch is also searched by the thread that brings it.
  engine->helpers = std::make_unique<query::HelperPool>(engine->threads - 1);
  const uint64_t limit = options.memory_limit != 0
                             ? options.memory_limit
                             : std::max(kMemoryLimitFloor, MachineMemoryBytes() / 2);
  if (limit < kMemoryLimitFloor) {
    return absl::InvalidArgumentError(absl::StrCat("memory limit is ", base::FormatByteSize(limit),
                                                   ", must be at least ",
                                                   base::FormatByteSize(kMemoryLimitFloor)));
  }
  engine->plan = PlanMemory(limit);
  engine->budget = std::make_unique<base::MemoryBudget>(limit);
  engine->matches =
      std::make_unique<version::MatchCache>(*engine->budget, engine->plan.match_cache_bytes_max);
  engine->read_only = options.read_only;
  TESSERA_RETURN_IF_ERROR(
      CheckDirectory(*engine->fs, path, options.create_if_missing && !options.read_only));
  TESSERA_ASSIGN_OR_RETURN(engine->lock, LockDirectory(*engine->fs, path, options.read_only));
  TESSERA_RETURN_IF_ERROR(OpenStores(*engine));
  if (options.read_only) return engine;
  // Not before the stores have been found whole.
  TESSERA_RETURN_IF_ERROR(base::RemoveTree(*engine->fs, engine->scratch_path));
  TESSERA_RETURN_IF_ERROR(engine->fs->CreateDirectory(engine->scratch_path));
  return engine;
}

}  // namespace tessera::db
