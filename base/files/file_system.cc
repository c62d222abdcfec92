#include "base/files/file_system.h"

#include "base/status_macros.h"

namespace tessera::base {

std::string JoinPath(std::string_view directory, std::string_view name) {
  std::string path(directory);
  if (!path.empty() && path.back() != '/') path.push_back('/');
  path.append(name);
  return path;
}

absl::Status RemoveTree(FileSystem& fs, const std::string& path) {
  // The file first: a symbolic link to a directory must go as a link, not with what it points to.
  absl::Status removed = fs.RemoveFile(path);
  if (removed.ok() || absl::IsNotFound(removed)) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(const bool is_directory, fs.IsDirectory(path));
  if (!is_directory) return removed;
  TESSERA_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(path));
  for (const std::string& name : names) {
    TESSERA_RETURN_IF_ERROR(RemoveTree(fs, JoinPath(path, name)));
  }
  return fs.RemoveDirectory(path);
}

}  // namespace tessera::base
