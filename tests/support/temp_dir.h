// A directory on the real file system, removed with all that is in it at the end of its life.
#pragma once

#include <string>
#include <string_view>

namespace tessera::inline test {

// Below $TMPDIR or /tmp; a failure to make it ends the test program. Threads: any.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string File(std::string_view name) const;

 private:
  std::string path_;
};

}  // namespace tessera::inline test
