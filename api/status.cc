#include "api/status.h"

#include <optional>
#include <string>
#include <utility>

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>

#include "absl/strings/str_cat.h"


namespace tessera::api {
namespace {

// What is over a limit by itself stays so.
bool IsRetriable(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsAborted(status) ||
         (absl::IsResourceExhausted(status) && !base::LimitOf(status).has_value());
}

std::string EncodeDetails(const absl::Status& status, const std::string& message) {
  google::rpc::Status rich;
  rich.set_code(static_cast<int>(status.code()));
  rich.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_reason(absl::StatusCodeToString(status.code()));
  info.set_domain("tessera");
  (*info.mutable_metadata())["retriable"] = IsRetriable(status) ? "true" : "false";
  if (const std::optional<base::PassedLimit> passed = base::LimitOf(status)) {
    (*info.mutable_metadata())["actual"] = absl::StrCat(passed->actual);
    (*info.mutable_metadata())["limit"] = absl::StrCat(passed->limit);
  }
  rich.add_details()->PackFrom(info);
  const std::optional<std::string> field = base::BlamedField(status);
  if (field.has_value()) {
    google::rpc::BadRequest request;
    google::rpc::BadRequest::FieldViolation* violation = request.add_field_violations();
    violation->set_field(*field);
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

absl::Status BlameIfInvalid(absl::Status status, std::string_view field) {
  if (!absl::IsInvalidArgument(status) || base::BlamedField(status).has_value()) return status;
  return BlameField(std::move(status), field);
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
