// The files RocksDB writes.
//
// Private to storage/. Threads: as RocksDB uses them.
#pragma once

#include <memory>
#include <string>

#include "base/files/file_system.h"

namespace rocksdb {
class FSWritableFile;
struct FileOptions;
}  // namespace rocksdb

namespace tessera::storage {

class RocksDisk;

// A log, a manifest or another file, as its name says. `disk` must outlive the result.
std::unique_ptr<rocksdb::FSWritableFile> NewRocksOutput(RocksDisk& disk, const std::string& path,
                                                        std::unique_ptr<base::WritableFile> file,
                                                        const rocksdb::FileOptions& options);

}  // namespace tessera::storage
