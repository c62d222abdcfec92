// Whether the end of a table file is as this store writes it, looked at before RocksDB sees it.
//
// RocksDB checks every block of a table file before it takes it apart, except for the properties:
// another program might have changed a number in them, so it takes them apart first and checks them
// afterwards. A flipped bit there ends the process in Debian's build, which has assertions. The
// way to the properties is the footer, which has no checksum at all and is compared with what this
// store writes, and the metaindex.
//
// Private to storage/. Threads: any.
// Source:  RocksDB's block-based table format, version 5: blocks (each followed by u8 compression
//          and u32 masked crc32c of both), among them the index, the properties and, last, the
//          metaindex with the places of the other ones; then the footer.
#pragma once

#include <string>

#include "absl/status/status.h"

#include "base/files/file_system.h"

namespace tessera::storage {

// Checks the footer, the blocks it names, and the properties.
//
// Errors: kDataLoss naming the file and the part; those of reading.
// Cost:   one read of 4 KiB, and of what is longer one more.
absl::Status CheckTableFile(const base::RandomAccessFile& file, const std::string& path);

}  // namespace tessera::storage
