#include "tests/support/fs_image.h"

#include <span>
#include <vector>

#include "base/check.h"

namespace tessera::inline test {

FsImage Capture(FaultFs& fs) {
  FsImage image;
  for (const std::string& path : fs.Files()) {
    const auto file = fs.OpenForRead(path, {});
    TESSERA_CHECK(file.ok());
    std::string bytes(*(*file)->Size(), '\0');
    const auto got = (*file)->Read(0, std::as_writable_bytes(std::span(bytes)));
    TESSERA_CHECK(got.ok() && *got == bytes.size());
    image[path] = bytes;
  }
  return image;
}

void PutFile(FaultFs& fs, const std::string& path, const std::string& bytes) {
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    TESSERA_CHECK(fs.CreateDirectory(path.substr(0, at)).ok());
    const size_t above = path.rfind('/', at - 1);
    TESSERA_CHECK(fs.SyncDirectory(above == 0 ? "/" : path.substr(0, above)).ok());
  }
  const auto file = fs.OpenForWrite(path, base::WriteMode::kTruncate);
  TESSERA_CHECK(file.ok());
  TESSERA_CHECK((*file)->Append(std::as_bytes(std::span(bytes))).ok() && (*file)->Sync().ok());
  TESSERA_CHECK(fs.SyncDirectory(path.substr(0, path.rfind('/'))).ok());
}

std::unique_ptr<FaultFs> Restore(const FsImage& image) {
  auto fs = std::make_unique<FaultFs>();
  for (const auto& [path, bytes] : image) PutFile(*fs, path, bytes);
  return fs;
}

}  // namespace tessera::inline test
