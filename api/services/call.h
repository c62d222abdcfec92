// What every service needs to answer a call.
//
// Threads: any.
#pragma once

#include <chrono>
#include <cstdint>
#include <new>
#include <utility>

#include <grpcpp/server_context.h>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "api/call_memory.h"
#include "api/cancellation.h"
#include "api/status.h"
#include "db/database.h"

namespace tessera::api {

struct ServiceContext {
  db::Database& database;
  CancellationWatch& cancellations;
  CallMemory& memory;
  uint64_t reply_bytes_max = 0;
};

// Seconds since it was made.
class Stopwatch {
 public:
  double Seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Runs a handler's body and turns its status into gRPC's.
template <typename Body>
grpc::Status Answer(const Body& body) {
  try {
    return ToGrpc(body());
  } catch (const std::bad_alloc&) {
    return ToGrpc(absl::ResourceExhaustedError("out of memory"));
  }
}

inline absl::Time DeadlineOf(const grpc::ServerContext& context) {
  const std::chrono::system_clock::time_point deadline = context.deadline();
  return deadline == std::chrono::system_clock::time_point::max() ? absl::InfiniteFuture()
                                                                  : absl::FromChrono(deadline);
}

// For calls that the engine cannot stop: they do not begin for a caller who no longer waits.
inline absl::Status CheckLive(const grpc::ServerContext& context) {
  if (context.IsCancelled()) return absl::CancelledError("the call was cancelled");
  if (absl::Now() >= DeadlineOf(context)) {
    return absl::DeadlineExceededError("the deadline passed before the call began");
  }
  return absl::OkStatus();
}

// What the vectors of one point weigh in a reply.
inline uint64_t VectorBytes(const base::CollectionSchema& schema) {
  uint64_t bytes = 0;
  for (const base::VectorFieldSchema& field : schema.vectors) {
    bytes += field.dim * base::ElementBytes(field.type);
  }
  return bytes;
}

}  // namespace tessera::api
