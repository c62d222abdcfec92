#include "api/status.h"

#include <optional>
#include <string>
#include <utility>

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

#include "base/strings.h"

namespace tessera::api {
namespace {

constexpr char kFieldUrl[] = "tessera/field";

bool IsRetriable(absl::StatusCode code) {
  return code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kAborted ||
         code == absl::StatusCode::kResourceExhausted;
}

std::string EncodeDetails(const absl::Status& status, const std::string& message) {
  google::rpc::Status rich;
  rich.set_code(static_cast<int>(status.code()));
  rich.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_reason(absl::StatusCodeToString(status.code()));
  info.set_domain("tessera");
  (*info.mutable_metadata())["retriable"] = IsRetriable(status.code()) ? "true" : "false";
  rich.add_details()->PackFrom(info);
  const absl::optional<absl::Cord> field = status.GetPayload(kFieldUrl);
  if (field.has_value()) {
    google::rpc::BadRequest request;
    google::rpc::BadRequest::FieldViolation* violation = request.add_field_violations();
    violation->set_field(std::string(*field));
    violation->set_description(message);
    rich.add_details()->PackFrom(request);
  }
  return rich.SerializeAsString();
}

// Cuts at kStatusMessageBytesMax, not within a UTF-8 character.
std::string ShortMessage(absl::string_view message) {
  if (message.size() <= kStatusMessageBytesMax) return std::string(message);
  size_t end = kStatusMessageBytesMax;
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0U) == 0x80U) --end;
  return absl::StrCat(message.substr(0, end), "...");
}

}  // namespace

absl::Status InvalidField(std::string_view field, std::string_view message) {
  return BlameField(
      absl::InvalidArgumentError(absl::StrCat(base::Sv(field), ": ", base::Sv(message))), field);
}

absl::Status BlameField(absl::Status status, std::string_view field) {
  if (!status.ok()) status.SetPayload(kFieldUrl, absl::Cord(base::Sv(field)));
  return status;
}

absl::Status BlameIfInvalid(absl::Status status, std::string_view field) {
  if (!absl::IsInvalidArgument(status) || status.GetPayload(kFieldUrl).has_value()) return status;
  return BlameField(std::move(status), field);
}

absl::Status Prefixed(std::string_view prefix, const absl::Status& status) {
  absl::Status out(status.code(), absl::StrCat(base::Sv(prefix), status.message()));
  if (const auto field = status.GetPayload(kFieldUrl); field.has_value()) {
    out.SetPayload(kFieldUrl, *field);
  }
  return out;
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message = ShortMessage(status.message());
  return {static_cast<grpc::StatusCode>(status.code()), message, EncodeDetails(status, message)};
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}

}  // namespace tessera::api
