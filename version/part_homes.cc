#include "version/part_homes.h"

#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/coding/crc32c.h"
#include "base/status_macros.h"

namespace tessera::version {
namespace {

constexpr size_t kHomeBytes = 8;
constexpr size_t kChecksumBytes = 4;

}  // namespace

std::string EncodePartHomes(std::span<const PartHome> homes) {
  std::string out;
  out.reserve(homes.size() * kHomeBytes + kChecksumBytes);
  for (const PartHome& home : homes) {
    base::PutU32(&out, home.list);
    base::PutU32(&out, home.first_block);
  }
  base::PutU32(&out, base::Crc32c(std::string_view(out)));
  return out;
}

absl::StatusOr<std::vector<PartHome>> DecodePartHomes(std::string_view bytes, size_t count) {
  if (bytes.size() != count * kHomeBytes + kChecksumBytes) {
    return absl::DataLossError(
        absl::StrCat("part homes of ", bytes.size(), " bytes for ", count, " parts"));
  }
  const std::string_view body = bytes.substr(0, bytes.size() - kChecksumBytes);
  base::Decoder checksum(bytes.substr(body.size()));
  uint32_t crc = 0;
  TESSERA_RETURN_IF_ERROR(checksum.U32(&crc));
  if (crc != base::Crc32c(body)) return absl::DataLossError("part homes have a wrong checksum");
  base::Decoder in(body);
  std::vector<PartHome> homes(count);
  for (PartHome& home : homes) {
    TESSERA_RETURN_IF_ERROR(in.U32(&home.list));
    TESSERA_RETURN_IF_ERROR(in.U32(&home.first_block));
  }
  return homes;
}

}  // namespace tessera::version
