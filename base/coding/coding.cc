#include "base/coding/coding.h"

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/status_macros.h"

namespace tessera::base {
namespace {

template <typename T>
void PutFixed(std::string* out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out->append(bytes, sizeof(T));
}

}  // namespace

void PutU8(std::string* out, uint8_t value) {
  PutFixed(out, value);
}
void PutU16(std::string* out, uint16_t value) {
  PutFixed(out, value);
}
void PutU32(std::string* out, uint32_t value) {
  PutFixed(out, value);
}
void PutU64(std::string* out, uint64_t value) {
  PutFixed(out, value);
}
void PutF32(std::string* out, float value) {
  PutFixed(out, value);
}

void PutVarint64(std::string* out, uint64_t value) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>((value & 0x7F) | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

void PutBytes(std::string* out, std::string_view bytes) {
  PutVarint64(out, bytes.size());
  out->append(bytes);
}

void PutBigEndian32(std::string* out, uint32_t value) {
  PutFixed(out, __builtin_bswap32(value));
}
void PutBigEndian64(std::string* out, uint64_t value) {
  PutFixed(out, __builtin_bswap64(value));
}

uint32_t DecodeBigEndian32(std::string_view bytes) {
  TESSERA_CHECK(bytes.size() >= sizeof(uint32_t));
  uint32_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof(value));
  return __builtin_bswap32(value);
}

uint64_t DecodeBigEndian64(std::string_view bytes) {
  TESSERA_CHECK(bytes.size() >= sizeof(uint64_t));
  uint64_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof(value));
  return __builtin_bswap64(value);
}

absl::Status Decoder::Truncated(const char* what, uint64_t wanted) const {
  return absl::DataLossError(absl::StrCat(what, " at byte ", total_bytes_ - rest_.size(), " of ",
                                          total_bytes_, " takes ", wanted, " bytes, ", rest_.size(),
                                          " are left"));
}

template <typename T>
absl::Status Decoder::Fixed(T* value, const char* what) {
  if (rest_.size() < sizeof(T)) return Truncated(what, sizeof(T));
  std::memcpy(value, rest_.data(), sizeof(T));
  rest_.remove_prefix(sizeof(T));
  return absl::OkStatus();
}

absl::Status Decoder::U8(uint8_t* value) {
  return Fixed(value, "u8");
}
absl::Status Decoder::U16(uint16_t* value) {
  return Fixed(value, "u16");
}
absl::Status Decoder::U32(uint32_t* value) {
  return Fixed(value, "u32");
}
absl::Status Decoder::U64(uint64_t* value) {
  return Fixed(value, "u64");
}
absl::Status Decoder::F32(float* value) {
  return Fixed(value, "f32");
}

absl::Status Decoder::Varint64(uint64_t* value) {
  uint64_t result = 0;
  for (size_t i = 0; i < 10; ++i) {
    if (i == rest_.size()) return Truncated("varint", i + 1);
    const auto byte = static_cast<uint8_t>(rest_[i]);
    // The tenth byte holds one bit; a zero last byte means that a shorter form exists.
    if ((i == 9 && byte > 1) || (i > 0 && byte == 0)) break;
    result |= uint64_t{byte & 0x7FU} << (7 * i);
    if (byte < 0x80) {
      rest_.remove_prefix(i + 1);
      *value = result;
      return absl::OkStatus();
    }
  }
  return absl::DataLossError(
      absl::StrCat("ill-formed varint at byte ", total_bytes_ - rest_.size()));
}

absl::Status Decoder::Bytes(std::string_view* value) {
  Decoder ahead = *this;
  uint64_t size = 0;
  TESSERA_RETURN_IF_ERROR(ahead.Varint64(&size));
  if (size > ahead.rest_.size()) return ahead.Truncated("byte string", size);
  TESSERA_RETURN_IF_ERROR(ahead.Raw(size, value));
  *this = ahead;
  return absl::OkStatus();
}

absl::Status Decoder::Raw(size_t bytes, std::string_view* value) {
  if (bytes > rest_.size()) return Truncated("raw bytes", bytes);
  *value = rest_.substr(0, bytes);
  rest_.remove_prefix(bytes);
  return absl::OkStatus();
}

absl::Status Decoder::ExpectEnd() const {
  if (rest_.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(rest_.size(), " bytes left over at byte ",
                                          total_bytes_ - rest_.size(), " of ", total_bytes_));
}

}  // namespace tessera::base
