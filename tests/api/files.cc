#include "tests/api/files.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <zlib.h>

#include "base/check.h"

namespace tessera::api {

InputDir::InputDir() {
  std::string name = (std::filesystem::temp_directory_path() / "tessera_api_XXXXXX").string();
  TESSERA_CHECK(::mkdtemp(name.data()) != nullptr);
  path_ = name;
}

InputDir::~InputDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string InputDir::PathOf(std::string_view name) const {
  return (std::filesystem::path(path_) / name).string();
}

std::string InputDir::Write(std::string_view name, std::string_view bytes) const {
  std::string path = PathOf(name);
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  TESSERA_CHECK(file.good());
  return path;
}

std::string ReadWholeFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string Gzip(std::string_view bytes) {
  z_stream stream{};
  TESSERA_CHECK(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string in(bytes);
  std::string out(deflateBound(&stream, static_cast<uLong>(in.size())), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  TESSERA_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string LittleU32(uint32_t value) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

std::string BigU32(uint32_t value) {
  const std::string little = LittleU32(value);
  return {little.rbegin(), little.rend()};
}

}  // namespace tessera::api
