#include "storage/directory.h"

#include "base/status_macros.h"

namespace tessera::storage {

std::string ParentDirectory(std::string path) {
  while (path.size() > 1 && path.back() == '/') {
    path.pop_back();
  }
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) {
    return ".";
  }
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status CreateDurableDirectory(base::FileSystem& fs, const std::string& path) {
  TESSERA_RETURN_IF_ERROR(fs.CreateDirectory(path));
  return fs.SyncDirectory(ParentDirectory(path));
}

}  // namespace tessera::storage
