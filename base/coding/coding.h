// Numbers and byte strings <-> bytes, for everything stored: little-endian, except for keys.
//
// Varint: 7 bits per byte, low bits first, top bit set on all but the last byte; at most 10 bytes,
// and never longer than needed.
//
// Threads: free functions without shared state; a Decoder belongs to one thread.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace tessera::base {

static_assert(std::endian::native == std::endian::little, "stored numbers are copied as they are");

// Append to `*out`.
void PutU8(std::string* out, uint8_t value);
void PutU16(std::string* out, uint16_t value);
void PutU32(std::string* out, uint32_t value);
void PutU64(std::string* out, uint64_t value);
void PutF32(std::string* out, float value);
void PutVarint64(std::string* out, uint64_t value);
void PutBytes(std::string* out, std::string_view bytes);  // varint length, then the bytes

// Keys: their byte order is the order of the numbers.
void PutBigEndian32(std::string* out, uint32_t value);
void PutBigEndian64(std::string* out, uint64_t value);
// Pre: at least 4 and 8 bytes; what follows is ignored.
uint32_t DecodeBigEndian32(std::string_view bytes);
uint64_t DecodeBigEndian64(std::string_view bytes);

// At fixed places; any alignment.
inline void StoreU16(std::byte* at, uint16_t value) {
  std::memcpy(at, &value, sizeof(value));
}
inline void StoreU32(std::byte* at, uint32_t value) {
  std::memcpy(at, &value, sizeof(value));
}
inline void StoreU64(std::byte* at, uint64_t value) {
  std::memcpy(at, &value, sizeof(value));
}
inline void StoreF32(std::byte* at, float value) {
  std::memcpy(at, &value, sizeof(value));
}

inline uint16_t LoadU16(const std::byte* at) {
  uint16_t value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}
inline uint32_t LoadU32(const std::byte* at) {
  uint32_t value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}
inline uint64_t LoadU64(const std::byte* at) {
  uint64_t value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}
inline float LoadF32(const std::byte* at) {
  float value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// Reads a byte string from front to back. The bytes are untrusted: a read past the end or an
// ill-formed varint is kDataLoss, and then neither the position nor `*value` has changed.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : rest_(bytes), total_bytes_(bytes.size()) {}

  absl::Status U8(uint8_t* value);
  absl::Status U16(uint16_t* value);
  absl::Status U32(uint32_t* value);
  absl::Status U64(uint64_t* value);
  absl::Status F32(float* value);
  absl::Status Varint64(uint64_t* value);
  // Views into the bytes given to the constructor.
  absl::Status Bytes(std::string_view* value);
  absl::Status Raw(size_t bytes, std::string_view* value);

  size_t remaining() const { return rest_.size(); }
  // kDataLoss if anything is left.
  absl::Status ExpectEnd() const;

 private:
  template <typename T>
  absl::Status Fixed(T* value, const char* what);
  absl::Status Truncated(const char* what, uint64_t wanted) const;

  std::string_view rest_;
  size_t total_bytes_;
};

}  // namespace tessera::base
