// Lets RocksDB work on a base::FileSystem, so that whatever is injected beneath the extent store
// is injected beneath the row store as well.
//
// Private to storage/. Threads: as base::FileSystem.
#pragma once

#include <memory>

namespace rocksdb {
class FileSystem;
}  // namespace rocksdb

namespace tessera::storage {

class RocksDisk;

// `disk` must outlive the result.
std::shared_ptr<rocksdb::FileSystem> NewRocksFileSystem(RocksDisk& disk);

}  // namespace tessera::storage
