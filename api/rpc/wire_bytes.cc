#include "api/rpc/wire_bytes.h"

#include <string>
#include <utility>
#include <vector>

#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include "absl/strings/str_cat.h"

#include "base/status_details.h"

namespace tessera::api {

absl::StatusOr<WireCost> ScanBuffer(const google::protobuf::Descriptor* type,
                                    const grpc::ByteBuffer& buffer) {
  grpc::ByteBuffer same(buffer);  // shares the bytes; a reader wants it without const
  if (!same.Valid() || same.Length() == 0) {
    return WireCost();
  }
  grpc::ProtoBufferReader reader(&same);
  if (!reader.status().ok()) return absl::InternalError("a request that cannot be read");
  return ScanWire(type, static_cast<int>(same.Length()), &reader);
}

absl::Status ParseBuffer(const grpc::ByteBuffer& buffer, google::protobuf::Message* message) {
  grpc::ByteBuffer same(buffer);
  if (!same.Valid() || same.Length() == 0) return absl::OkStatus();
  grpc::ProtoBufferReader reader(&same);
  if (reader.status().ok() && message->ParseFromZeroCopyStream(&reader)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the request is no valid ", message->GetTypeName()));
}

grpc::ByteBuffer ToBuffer(Reply&& reply) {
  std::vector<grpc::Slice> slices;
  for (std::string& chunk : reply.TakeChunks()) {
    auto* const owned = new std::string(std::move(chunk));
    slices.emplace_back(
        owned->data(), owned->size(), [](void* text) { delete static_cast<std::string*>(text); },
        owned);
  }
  return {slices.data(), slices.size()};
}

base::Deadline FromRaw(gpr_timespec deadline) {
  if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) {
    return base::Deadline::Never();
  }
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  return base::Deadline::After(absl::Seconds(left.tv_sec) + absl::Nanoseconds(left.tv_nsec));
}

absl::Status CheckRequestBytes(size_t bytes, uint64_t limit) {
  if (bytes <= limit) return absl::OkStatus();
  return base::OverLimit(absl::ResourceExhaustedError(absl::StrCat(
                             "the request has ", bytes, " bytes, at most ", limit, " are allowed")),
                         bytes, limit);
}

}  // namespace tessera::api
