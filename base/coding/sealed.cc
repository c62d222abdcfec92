#include "base/coding/sealed.h"

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "base/strings.h"

namespace tessera::base {

void Seal(std::string* bytes) {
  PutU32(bytes, Crc32c(std::string_view(*bytes)));
}

absl::StatusOr<std::string_view> Unseal(std::string_view what, std::string_view bytes) {
  if (bytes.size() < sizeof(uint32_t)) {
    return absl::DataLossError(
        absl::StrCat(Sv(what), " of ", bytes.size(), " bytes has no room for a checksum"));
  }
  const std::string_view body = bytes.substr(0, bytes.size() - sizeof(uint32_t));
  const uint32_t stored = LoadU32(std::as_bytes(std::span(bytes)).data() + body.size());
  const uint32_t actual = Crc32c(body);
  if (stored != actual) {
    return absl::DataLossError(
        absl::StrCat(Sv(what), " has checksum ", actual, ", stored is ", stored));
  }
  return body;
}

}  // namespace tessera::base
