// The external id of a point: an unsigned 64-bit number, a UUID or a string that reads as neither
// (string_id.h).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/statusor.h"

namespace tessera::base {

inline constexpr size_t kPointIdStringBytesMax = 512;

struct Uuid {
  std::array<uint8_t, 16> bytes{};
  friend auto operator<=>(const Uuid&, const Uuid&) = default;
};

class PointId {
 public:
  PointId() = default;
  explicit PointId(uint64_t number) : data_(number) {}
  explicit PointId(Uuid uuid) : data_(uuid) {}
  explicit PointId(std::string text) : data_(std::move(text)) {}

  const uint64_t* number() const { return std::get_if<uint64_t>(&data_); }
  const Uuid* uuid() const { return std::get_if<Uuid>(&data_); }
  const std::string* string() const { return std::get_if<std::string>(&data_); }

  // Order: numbers, then UUIDs, then strings; the order of EncodeKey's bytes as well.
  friend auto operator<=>(const PointId&, const PointId&) = default;

  // 17, "6f1c...-...", or the string itself.
  std::string ToString() const;

  // Appends an order-preserving, self-delimiting key: kind byte, then 8 bytes big-endian, 16 bytes,
  // or the string itself (only as the last part of a key).
  void EncodeKey(std::string* out) const;
  // Errors: kDataLoss. Takes all of `key`.
  static absl::StatusOr<PointId> DecodeKey(std::string_view key);

  // The decimal form of a number (no leading zero, fits) -> number, UUID form -> UUID, anything
  // else -> string.
  // Errors: kInvalidArgument when empty, longer than kPointIdStringBytesMax or not UTF-8.
  static absl::StatusOr<PointId> Parse(std::string_view text);

  template <typename H>
  friend H AbslHashValue(H h, const PointId& id) {
    std::string key;
    id.EncodeKey(&key);
    return H::combine(std::move(h), key);
  }

 private:
  std::variant<uint64_t, Uuid, std::string> data_;
};

}  // namespace tessera::base
