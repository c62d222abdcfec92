// What a data directory is, seen from outside: its names, whether it holds data, its lock.
//
// Threads: any.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/files/file_system.h"

namespace tessera::db {

inline constexpr std::string_view kLockName = "LOCK";
inline constexpr std::string_view kRowsName = "rows";
inline constexpr std::string_view kExtentsName = "extents";
inline constexpr std::string_view kScratchName = "scratch";

// That `path` holds data or, with `create`, may: it is created then if it is not there.
//
// Errors: kNotFound without `create`; kInvalidArgument for a file; kFailedPrecondition for a
//         directory that holds something else; kDataLoss for one that has lost its rows.
absl::Status CheckDirectory(base::FileSystem& fs, const std::string& path, bool create);

// The directory's lock. For reading it may be null: where there is no lock file, or it cannot be
// locked, as in a copy on a read-only disk, nobody is kept out.
//
// Errors: kFailedPrecondition if another process has it; those of the file system.
absl::StatusOr<std::unique_ptr<base::FileLock>> LockDirectory(base::FileSystem& fs,
                                                              const std::string& path,
                                                              bool read_only);

}  // namespace tessera::db
