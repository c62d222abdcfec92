#include "query/hit.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "base/coding/coding.h"
#include "index/raw_plane.h"

namespace tessera::query {
namespace {

uint64_t LoadBigEndian(const uint8_t* bytes) {
  uint64_t word = 0;
  for (int i = 0; i < 8; ++i) word = word << 8 | bytes[i];
  return word;
}

void StoreBigEndian(uint64_t word, uint8_t* bytes) {
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(word >> (56 - 8 * i));
}

HitId IdOfRecord(const std::byte* header) {
  const uint8_t* bytes = index::RawIdBytes(header);
  switch (index::RawKind(header)) {
    case index::RawIdKind::kNumber:
      return HitId::Number(base::LoadU64(reinterpret_cast<const std::byte*>(bytes)));
    case index::RawIdKind::kUuid:
      return HitId::FromUuid(bytes);
    case index::RawIdKind::kString:
      return HitId::ShortString({reinterpret_cast<const char*>(bytes), index::RawIdLength(header)});
    case index::RawIdKind::kLongString:
      return HitId::LongString(bytes, base::LoadU64(reinterpret_cast<const std::byte*>(bytes + 8)));
  }
  TESSERA_FATAL("a raw record was not checked before it was used");
}

}  // namespace

HitId HitId::FromUuid(const uint8_t* bytes) {
  return {Kind::kUuid, 0, LoadBigEndian(bytes), LoadBigEndian(bytes + 8)};
}

HitId HitId::ShortString(std::string_view text) {
  TESSERA_CHECK(text.size() <= kInlineBytes);
  std::array<uint8_t, kInlineBytes> bytes{};
  std::copy(text.begin(), text.end(), bytes.begin());
  return {Kind::kString, static_cast<uint8_t>(text.size()), LoadBigEndian(bytes.data()),
          LoadBigEndian(bytes.data() + 8)};
}

HitId HitId::LongString(const uint8_t* prefix, uint64_t hash) {
  return {Kind::kLongString, kInlineBytes + 1, LoadBigEndian(prefix), hash};
}

HitId HitId::FromPointId(const base::PointId& id) {
  if (const uint64_t* number = id.number()) return Number(*number);
  if (const base::Uuid* uuid = id.uuid()) return FromUuid(uuid->bytes.data());
  const std::string& text = *id.string();
  if (text.size() <= kInlineBytes) return ShortString(text);
  std::array<uint8_t, 8> prefix{};
  std::copy_n(text.begin(), prefix.size(), prefix.begin());
  return LongString(prefix.data(), index::RawLongIdHash(text));
}

base::PointId HitId::ToPointId() const {
  TESSERA_CHECK(resolved());
  if (kind_ == Kind::kNumber) return base::PointId(low_);
  base::Uuid bytes;
  StoreBigEndian(high_, bytes.bytes.data());
  StoreBigEndian(low_, bytes.bytes.data() + 8);
  if (kind_ == Kind::kUuid) return base::PointId(bytes);
  return base::PointId(std::string(bytes.bytes.begin(), bytes.bytes.begin() + length_));
}

Hit ToHit(const std::byte* header, float dissimilarity) {
  return {.dissimilarity = dissimilarity,
          .id = IdOfRecord(header),
          .row = index::RawRowId(header),
          .version = index::RawVersion(header)};
}

}  // namespace tessera::query
