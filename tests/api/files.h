// Temporary input files for the api tests.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tessera::api {

// A directory of its own, removed with all files in it.
class InputDir {
 public:
  InputDir();
  InputDir(const InputDir&) = delete;
  InputDir& operator=(const InputDir&) = delete;
  ~InputDir();

  const std::string& path() const { return path_; }
  // Writes a file and returns its path.
  std::string Write(std::string_view name, std::string_view bytes) const;
  std::string PathOf(std::string_view name) const;

 private:
  std::string path_;
};

std::string ReadWholeFile(const std::string& path);

// `bytes` as one gzip member.
std::string Gzip(std::string_view bytes);

// u32, little- and big-endian, as bytes.
std::string LittleU32(uint32_t value);
std::string BigU32(uint32_t value);

}  // namespace tessera::api
