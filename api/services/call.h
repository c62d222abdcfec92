// What every service needs to answer a call.
//
// Threads: any.
#pragma once

#include <atomic>
#include <chrono>
#include <new>
#include <utility>

#include <grpcpp/server_context.h>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "api/cancellation.h"
#include "api/status.h"
#include "db/database.h"

namespace tessera::api {

struct ServiceContext {
  db::Database& database;
  CancellationWatch& cancellations;
  // Helper threads that batches of all calls may use together; see search_service.cc.
  std::atomic<int> helper_threads_free{0};
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

}  // namespace tessera::api
