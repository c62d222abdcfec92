#include "index/codecs/codec.h"

#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/coding/sealed.h"
#include "base/status_macros.h"
#include "index/codecs/rabitq_codec.h"

namespace tessera::index {
namespace {

constexpr uint32_t kMagic = 0x31444354;  // "TCD1"

}  // namespace

std::string FrameCodec(CodecKind kind, std::string_view payload) {
  std::string out;
  base::PutU32(&out, kMagic);
  base::PutU8(&out, static_cast<uint8_t>(kind));
  out.append(payload);
  base::Seal(&out);
  return out;
}

absl::StatusOr<std::unique_ptr<Codec>> DeserializeCodec(std::string_view bytes) {
  TESSERA_ASSIGN_OR_RETURN(const std::string_view body, base::Unseal("codec", bytes));
  base::Decoder in(body);
  uint32_t magic = 0;
  uint8_t kind = 0;
  TESSERA_RETURN_IF_ERROR(in.U32(&magic));
  TESSERA_RETURN_IF_ERROR(in.U8(&kind));
  if (magic != kMagic) {
    return absl::DataLossError(absl::StrCat("codec of ", bytes.size(), " bytes is not one"));
  }
  std::string_view payload;
  TESSERA_RETURN_IF_ERROR(in.Raw(in.remaining(), &payload));
  if (kind == static_cast<uint8_t>(CodecKind::kRaBitQ)) return RaBitQCodec::Deserialize(payload);
  return absl::UnimplementedError(absl::StrCat("codec of unknown kind ", kind));
}

}  // namespace tessera::index
