#include "base/status_details.h"

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "base/strings.h"

namespace tessera::base {
namespace {

constexpr char kFieldUrl[] = "tessera/field";
constexpr char kActualUrl[] = "tessera/actual";
constexpr char kLimitUrl[] = "tessera/limit";

std::optional<std::string> Detail(const absl::Status& status, const char* url) {
  const auto detail = status.GetPayload(url);
  if (!detail.has_value()) return std::nullopt;
  return std::string(*detail);
}

std::optional<uint64_t> Number(const absl::Status& status, const char* url) {
  const std::optional<std::string> text = Detail(status, url);
  uint64_t number = 0;
  if (!text.has_value() || !absl::SimpleAtoi(*text, &number)) return std::nullopt;
  return number;
}

}  // namespace

absl::Status InvalidField(std::string_view field, std::string_view message) {
  return BlameField(absl::InvalidArgumentError(absl::StrCat(Sv(field), ": ", Sv(message))), field);
}

absl::Status BlameField(absl::Status status, std::string_view field) {
  if (!status.ok()) status.SetPayload(kFieldUrl, absl::Cord(Sv(field)));
  return status;
}

std::optional<std::string> BlamedField(const absl::Status& status) {
  return Detail(status, kFieldUrl);
}

absl::Status OverLimit(absl::Status status, uint64_t actual, uint64_t limit) {
  status.SetPayload(kActualUrl, absl::Cord(absl::StrCat(actual)));
  status.SetPayload(kLimitUrl, absl::Cord(absl::StrCat(limit)));
  return status;
}

std::optional<PassedLimit> LimitOf(const absl::Status& status) {
  const std::optional<uint64_t> actual = Number(status, kActualUrl);
  const std::optional<uint64_t> limit = Number(status, kLimitUrl);
  if (!actual.has_value() || !limit.has_value()) return std::nullopt;
  return PassedLimit{.actual = *actual, .limit = *limit};
}

absl::Status Prefixed(std::string_view prefix, const absl::Status& status) {
  absl::Status out(status.code(), absl::StrCat(Sv(prefix), status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& detail) {
    out.SetPayload(url, detail);
  });
  return out;
}

}  // namespace tessera::base
