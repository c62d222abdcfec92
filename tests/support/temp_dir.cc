#include "tests/support/temp_dir.h"

#include <cstdio>
#include <cstdlib>

#include "base/check.h"
#include "base/files/file_system.h"

namespace tessera::inline test {

TempDir::TempDir() {
  const char* base = std::getenv("TMPDIR");
  path_ = base::JoinPath(base != nullptr && *base != '\0' ? base : "/tmp", "tessera_test_XXXXXX");
  TESSERA_CHECK(::mkdtemp(path_.data()) != nullptr);
}

TempDir::~TempDir() {
  const absl::Status removed = base::RemoveTree(base::PosixFileSystem(), path_);
  if (!removed.ok()) std::fprintf(stderr, "%s\n", removed.ToString().c_str());
}

std::string TempDir::File(std::string_view name) const {
  return base::JoinPath(path_, name);
}

}  // namespace tessera::inline test
