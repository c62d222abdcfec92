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

namespace tessera::db {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr int kReadThreads = 16;
constexpr std::string_view kLockName = "LOCK";
constexpr std::string_view kRowsName = "rows";
constexpr std::string_view kExtentsName = "extents";
constexpr std::string_view kScratchName = "scratch";

uint64_t MachineMemoryBytes() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<uint64_t>(sysconf(_SC_PAGE_SIZE));
}

int MachineThreads() {
  return std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
}

// Whether a directory without data is empty, or is what a creation that was cut short leaves.
// Otherwise it is somebody else's, and opening it would write to it and empty its scratch/.
absl::Status CheckUnused(base::FileSystem& fs, const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(path));
  for (const std::string& name : names) {
    bool ours = name == kLockName || name == kRowsName || name == "lost+found";
    if (name == kScratchName || name == kExtentsName) {
      const auto inside = fs.List(base::JoinPath(path, name));
      ours = inside.ok() && inside->empty();
    }
    if (ours) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("directory ", path, " is not a Tessera data directory and not empty: it has ",
                     name, "; name a new or an empty directory"));
  }
  return absl::OkStatus();
}

absl::Status CheckDirectory(base::FileSystem& fs, const std::string& path, bool create) {
  TESSERA_ASSIGN_OR_RETURN(const bool exists, fs.Exists(path));
  if (exists) {
    TESSERA_ASSIGN_OR_RETURN(const bool directory, fs.IsDirectory(path));
    if (!directory) {
      return absl::InvalidArgumentError(absl::StrCat("data directory ", path, " is a file"));
    }
    const std::string rows = base::JoinPath(path, kRowsName);
    TESSERA_ASSIGN_OR_RETURN(const bool has_data, storage::RowStore::Exists(fs, rows));
    if (has_data) return absl::OkStatus();
    TESSERA_RETURN_IF_ERROR(CheckUnused(fs, path));
    if (create) return absl::OkStatus();
    return absl::NotFoundError(absl::StrCat("directory ", path, " holds no Tessera data"));
  }
  if (!create) {
    return absl::NotFoundError(absl::StrCat("there is no data directory ", path));
  }
  TESSERA_RETURN_IF_ERROR(fs.CreateDirectory(path));
  const size_t slash = path.find_last_of('/');
  return fs.SyncDirectory(slash == std::string::npos ? "." : path.substr(0, slash + 1));
}

absl::Status OpenStores(Engine& engine) {
  TESSERA_ASSIGN_OR_RETURN(
      engine.fixed, engine.budget->Reserve("row store and process",
                                           engine.plan.process_bytes + engine.plan.row_cache_bytes +
                                               engine.plan.write_buffer_bytes));
  TESSERA_ASSIGN_OR_RETURN(
      engine.rows, storage::RowStore::Open(*engine.fs, base::JoinPath(engine.path, kRowsName),
                                           {.block_cache_bytes = engine.plan.row_cache_bytes,
                                            .write_buffer_bytes = engine.plan.write_buffer_bytes}));
  TESSERA_ASSIGN_OR_RETURN(
      engine.extents,
      storage::ExtentStore::Open(*engine.fs, base::JoinPath(engine.path, kExtentsName), 1));
  engine.reads = std::make_unique<storage::PreadPool>(kReadThreads);
  TESSERA_ASSIGN_OR_RETURN(
      engine.cache, storage::PageCache::Create(*engine.extents, *engine.reads, *engine.budget,
                                               {.capacity_bytes = engine.plan.page_cache_bytes}));
  engine.files = std::make_unique<version::ExtentFiles>(*engine.extents);
  TESSERA_ASSIGN_OR_RETURN(engine.fresh,
                           FreshBudget::Create(*engine.budget, engine.plan.fresh_bytes_max));
  TESSERA_ASSIGN_OR_RETURN(engine.builds,
                           BuildMemory::Create(*engine.budget, engine.plan.build_bytes_max));
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
  plan.fresh_bytes_max = rest / 100 * 10;
  plan.build_bytes_max = rest / 100 * 30;
  return plan;
}

absl::StatusOr<std::unique_ptr<Engine>> OpenEngine(const std::string& path,
                                                   const DatabaseOptions& options) {
  auto engine = std::make_unique<Engine>();
  engine->fs = options.fs != nullptr ? options.fs : &base::PosixFileSystem();
  engine->path = path;
  engine->scratch_path = base::JoinPath(path, kScratchName);
  engine->threads = options.threads > 0 ? options.threads : MachineThreads();
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
  TESSERA_RETURN_IF_ERROR(CheckDirectory(*engine->fs, path, options.create_if_missing));
  absl::StatusOr<std::unique_ptr<base::FileLock>> lock =
      engine->fs->Lock(base::JoinPath(path, kLockName));
  if (!lock.ok()) {
    if (!absl::IsFailedPrecondition(lock.status())) return lock.status();
    return absl::FailedPreconditionError(
        absl::StrCat("data directory ", path, " is in use by another process"));
  }
  engine->lock = *std::move(lock);
  TESSERA_RETURN_IF_ERROR(base::RemoveTree(*engine->fs, engine->scratch_path));
  TESSERA_RETURN_IF_ERROR(engine->fs->CreateDirectory(engine->scratch_path));
  TESSERA_RETURN_IF_ERROR(OpenStores(*engine));
  return engine;
}

}  // namespace tessera::db
