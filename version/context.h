// What building, opening and editing index versions needs of an open data directory.
//
// Threads: fixed once filled in; what it points to synchronises itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/files/file_system.h"
#include "base/memory_budget.h"
#include "storage/extent_store.h"
#include "storage/page_cache.h"
#include "storage/read_batch.h"
#include "version/extent_files.h"

namespace tessera::version {

struct Context {
  base::FileSystem* fs = nullptr;
  std::string scratch_path;  // a directory for spools; what is left there is removed at open
  int threads = 1;           // of one build, unless it is told otherwise
  base::MemoryBudget* budget = nullptr;
  storage::ExtentStore* extents = nullptr;
  storage::ReadEngine* reads = nullptr;
  storage::PageCache* cache = nullptr;
  ExtentFiles* files = nullptr;
  std::atomic<uint64_t> next_scratch{0};

  // A path in scratch_path that no other call gets.
  std::string ScratchFile(std::string_view purpose);
};

}  // namespace tessera::version
