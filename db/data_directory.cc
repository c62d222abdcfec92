#include "db/data_directory.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "storage/extent_store.h"
#include "storage/row_store.h"

namespace tessera::db {
namespace {

// What a creation that was cut short may leave, besides empty directories.
constexpr std::array<std::string_view, 5> kWithoutData = {kLockName, kRowsName, "rows.synced",
                                                          "rows.synced.new", "lost+found"};

// Whether a directory without rows is empty, or is what a creation that was cut short leaves.
// Otherwise it is somebody else's, and opening it would write to it and empty its scratch/; or it
// is ours and its rows are gone, and opening it would remove all the rest.
absl::Status CheckUnused(base::FileSystem& fs, const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(path));
  for (const std::string& name : names) {
    bool ours = std::find(kWithoutData.begin(), kWithoutData.end(), name) != kWithoutData.end();
    if (name == kScratchName || name == kExtentsName) {
      const auto inside = fs.List(base::JoinPath(path, name));
      ours = inside.ok() && inside->empty();
      if (name == kExtentsName && inside.ok() &&
          std::any_of(inside->begin(), inside->end(), storage::IsExtentFileName)) {
        return absl::DataLossError(
            absl::StrCat("data directory ", path, " has extent files, but no row store in ",
                         kRowsName.data(), "/ that names them; nothing was changed. Put ",
                         kRowsName.data(), "/ back from a copy of the directory"));
      }
    }
    if (ours) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("directory ", path, " is not a Tessera data directory and not empty: it has ",
                     name, "; name a new or an empty directory"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckDirectory(base::FileSystem& fs, const std::string& path, bool create) {
  TESSERA_ASSIGN_OR_RETURN(const bool exists, fs.Exists(path));
  if (exists) {
    TESSERA_ASSIGN_OR_RETURN(const bool directory, fs.IsDirectory(path));
    if (!directory) {
      return absl::InvalidArgumentError(absl::StrCat("data directory ", path, " is a file"));
    }
    TESSERA_ASSIGN_OR_RETURN(const bool has_data,
                             storage::RowStore::Exists(fs, base::JoinPath(path, kRowsName)));
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

absl::StatusOr<std::unique_ptr<base::FileLock>> LockDirectory(base::FileSystem& fs,
                                                              const std::string& path,
                                                              bool read_only) {
  const std::string name = base::JoinPath(path, kLockName);
  absl::StatusOr<std::unique_ptr<base::FileLock>> lock =
      read_only ? fs.LockShared(name) : fs.Lock(name);
  if (absl::IsFailedPrecondition(lock.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat("data directory ", path, " is in use by another process"));
  }
  if (!lock.ok() && read_only) return nullptr;
  return lock;
}

}  // namespace tessera::db
