// Lets RocksDB work on a base::FileSystem, so that whatever is injected beneath the extent store
// is injected beneath the row store as well.
//
// Private to storage/. Threads: as base::FileSystem.
#pragma once

#include <memory>

#include "base/file_system.h"

namespace rocksdb {
class FileSystem;
}  // namespace rocksdb

namespace tessera::storage {

class WalTracker;

// `fs` and `tracker` must outlive the result; `tracker` is told of every log file's fate.
std::shared_ptr<rocksdb::FileSystem> NewRocksFileSystem(base::FileSystem& fs, WalTracker& tracker);

}  // namespace tessera::storage
