// Directories that are there after a power cut.
//
// Threads: any.
#pragma once

#include <string>

#include "absl/status/status.h"

#include "base/files/file_system.h"

namespace tessera::storage {

// The directory that holds what `path` names: "." for a plain name.
std::string ParentDirectory(std::string path);

// Creates `path`, unless it is there, and makes its name durable.
//
// Pre:    the directory that is to hold it exists and is durable itself.
// Errors: those of the file system.
// Cost:   one fsync of that directory, also when `path` was there: the one who created it may have
//         been cut off before his.
absl::Status CreateDurableDirectory(base::FileSystem& fs, const std::string& path);

}  // namespace tessera::storage
