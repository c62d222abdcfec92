#include "api/services/context.h"

#include "base/status_macros.h"

namespace tessera::api {
namespace {

constexpr uint64_t kCopies = 3;

}  // namespace

absl::Status ReadWithin(Call& call, uint64_t fixed_bytes, uint64_t likely_bytes, uint64_t bytes_max,
                        const std::function<absl::Status(uint64_t bytes)>& read) {
  const uint64_t first = std::min(likely_bytes, bytes_max);
  const uint64_t whole = fixed_bytes + kCopies * bytes_max;
  // A call that has waited for the whole begins with it.
  if (call.reserved_bytes() < whole && first < bytes_max) {
    TESSERA_RETURN_IF_ERROR(call.Reserve(fixed_bytes + kCopies * first));
    absl::Status status = read(first);
    if (!absl::IsOutOfRange(status)) return status;
  }
  TESSERA_RETURN_IF_ERROR(call.Reserve(whole));
  return read(bytes_max);
}

}  // namespace tessera::api
