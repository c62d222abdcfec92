// What every service needs to answer a call.
//
// Threads: any.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>

#include "absl/status/status.h"

#include "api/call_memory.h"
#include "api/rpc/call.h"
#include "api/rpc/timers.h"
#include "api/services/ingest_streams.h"
#include "db/database.h"

namespace tessera::api {

// A reply unless the request asks for more: what clients of gRPC take without being told.
inline constexpr uint64_t kReplyBytesDefault = uint64_t{4} << 20;

// The part of it that most replies with payloads or vectors have.
inline constexpr uint64_t kReplyBytesLikely = uint64_t{128} << 10;

struct ServiceContext {
  db::Database& database;
  CallMemory& memory;
  Timers& timers;
  IngestStreams& streams;
  uint64_t request_bytes_max = 0;
  uint64_t reply_bytes_max = 0;  // whatever a request asks for
  uint64_t search_threads = 1;   // of one batch
  absl::Duration ingest_idle_timeout;
};

// The most bytes of the reply to a request that has asked for `asked` (0: not).
inline uint64_t ReplyBytesMax(const ServiceContext& context, uint64_t asked) {
  return std::min(asked == 0 ? kReplyBytesDefault : asked, context.reply_bytes_max);
}

// Reads for a reply of which only its bound is known before. Most replies are far shorter than they
// may be, so what is likely is leased first, and the bound only if that was too little.
// `read(bytes)` answers kOutOfRange when `bytes` of payloads and vectors do not do; what it is given
// is leased three times over: as read, on the wire, and for a portion of records.
absl::Status ReadWithin(Call& call, uint64_t fixed_bytes, uint64_t likely_bytes, uint64_t bytes_max,
                        const std::function<absl::Status(uint64_t bytes)>& read);

}  // namespace tessera::api
