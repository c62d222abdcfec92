#include "base/point_id.h"

#include <charconv>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "base/coding/coding.h"
#include "base/string_id.h"
#include "base/strings.h"
#include "base/utf8.h"

namespace tessera::base {
namespace {

// In keys on disk: never renumber. Their order is the order of the kinds.
constexpr uint8_t kNumberKind = 1;
constexpr uint8_t kUuidKind = 2;
constexpr uint8_t kStringKind = 3;

constexpr size_t kUuidTextBytes = 36;
constexpr std::string_view kHexDigits = "0123456789abcdef";

constexpr bool IsDashPlace(size_t i) {
  return i == 8 || i == 13 || i == 18 || i == 23;
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<Uuid> ParseUuid(std::string_view text) {
  if (text.size() != kUuidTextBytes) return std::nullopt;
  Uuid uuid;
  size_t digits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (IsDashPlace(i)) {
      if (text[i] != '-') return std::nullopt;
      continue;
    }
    const int value = HexValue(text[i]);
    if (value < 0) return std::nullopt;
    uint8_t& byte = uuid.bytes[digits / 2];
    byte = static_cast<uint8_t>(byte << 4 | value);
    ++digits;
  }
  return uuid;
}

std::string UuidToString(const Uuid& uuid) {
  std::string text;
  text.reserve(kUuidTextBytes);
  for (const uint8_t byte : uuid.bytes) {
    if (IsDashPlace(text.size())) text.push_back('-');
    text.push_back(kHexDigits[byte >> 4]);
    text.push_back(kHexDigits[byte & 0xF]);
  }
  return text;
}

// Only the one text that ToString gives back: "007" and "7" are two ids, not one.
std::optional<uint64_t> ParseNumber(std::string_view text) {
  if (text.size() > 1 && text[0] == '0') return std::nullopt;
  uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

}  // namespace

std::string PointId::ToString() const {
  if (const uint64_t* value = number()) return absl::StrCat(*value);
  if (const Uuid* value = uuid()) return UuidToString(*value);
  return *string();
}

void PointId::EncodeKey(std::string* out) const {
  if (const uint64_t* value = number()) {
    PutU8(out, kNumberKind);
    PutBigEndian64(out, *value);
  } else if (const Uuid* id = uuid()) {
    PutU8(out, kUuidKind);
    for (const uint8_t byte : id->bytes) PutU8(out, byte);
  } else {
    PutU8(out, kStringKind);
    out->append(*string());
  }
}

absl::StatusOr<PointId> PointId::DecodeKey(std::string_view key) {
  if (key.empty()) return absl::DataLossError("point id key is empty");
  const auto kind = static_cast<uint8_t>(key[0]);
  const std::string_view rest = key.substr(1);
  const auto wrong_length = [&rest](const char* what, const char* wanted) {
    return absl::DataLossError(
        absl::StrCat("point id key of a ", what, " has ", rest.size(), " bytes, wants ", wanted));
  };
  switch (kind) {
    case kNumberKind:
      if (rest.size() != 8) return wrong_length("number", "8");
      return PointId(DecodeBigEndian64(rest));
    case kUuidKind: {
      Uuid uuid;
      if (rest.size() != uuid.bytes.size()) return wrong_length("UUID", "16");
      for (size_t i = 0; i < rest.size(); ++i) uuid.bytes[i] = static_cast<uint8_t>(rest[i]);
      return PointId(uuid);
    }
    case kStringKind:
      if (rest.empty() || rest.size() > kPointIdStringBytesMax) {
        return wrong_length("string", "1 .. 512");
      }
      return PointId(std::string(rest));
    default:
      return absl::DataLossError(absl::StrCat("point id key has kind ", kind, ", wants 1 .. 3"));
  }
}

absl::StatusOr<PointId> PointId::Parse(std::string_view text) {
  if (text.empty() || text.size() > kPointIdStringBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "point id has ", text.size(), " bytes, must have 1 .. ", kPointIdStringBytesMax));
  }
  if (const std::optional<uint64_t> number = ParseNumber(text)) return PointId(*number);
  if (const std::optional<Uuid> uuid = ParseUuid(text)) return PointId(*uuid);
  if (!IsUtf8(text)) {
    return absl::InvalidArgumentError("point id is not UTF-8");
  }
  return PointId(std::string(text));
}

absl::StatusOr<PointId> StringId(std::string_view text) {
  absl::StatusOr<PointId> id = PointId::Parse(text);
  if (!id.ok() || id->string() != nullptr) return id;
  const bool is_number = id->number() != nullptr;
  return absl::InvalidArgumentError(
      absl::StrCat("id is the string \"", Sv(text), "\", which reads as a ",
                   is_number ? "number" : "UUID", "; send it as ", is_number ? "num" : "uuid"));
}

}  // namespace tessera::base
