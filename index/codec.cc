#include "index/codec.h"

#include "absl/strings/str_cat.h"

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/status_macros.h"
#include "index/pq_codec.h"
#include "index/rabitq_codec.h"

namespace tessera::index {
namespace {

constexpr uint32_t kMagic = 0x31444354;  // "TCD1"

}  // namespace

std::string FrameCodec(CodecKind kind, std::string_view payload) {
  std::string out;
  base::PutU32(&out, kMagic);
  base::PutU8(&out, static_cast<uint8_t>(kind));
  out.append(payload);
  base::PutU32(&out, base::Crc32c(out));
  return out;
}

absl::StatusOr<std::unique_ptr<Codec>> DeserializeCodec(std::string_view bytes) {
  base::Decoder in(bytes);
  uint32_t magic = 0;
  uint8_t kind = 0;
  TESSERA_RETURN_IF_ERROR(in.U32(&magic));
  TESSERA_RETURN_IF_ERROR(in.U8(&kind));
  if (magic != kMagic || in.remaining() < sizeof(uint32_t)) {
    return absl::DataLossError(absl::StrCat("codec of ", bytes.size(), " bytes is not one"));
  }
  std::string_view payload;
  uint32_t crc = 0;
  TESSERA_RETURN_IF_ERROR(in.Raw(in.remaining() - sizeof(uint32_t), &payload));
  TESSERA_RETURN_IF_ERROR(in.U32(&crc));
  const uint32_t actual = base::Crc32c(bytes.substr(0, bytes.size() - sizeof(uint32_t)));
  if (crc != actual) {
    return absl::DataLossError(absl::StrCat("codec has checksum ", actual, ", stored is ", crc));
  }
  if (kind == static_cast<uint8_t>(CodecKind::kRaBitQ)) return RaBitQCodec::Deserialize(payload);
  if (kind == static_cast<uint8_t>(CodecKind::kPq)) return PqCodec::Deserialize(payload);
  return absl::UnimplementedError(absl::StrCat("codec of unknown kind ", kind));
}

}  // namespace tessera::index
