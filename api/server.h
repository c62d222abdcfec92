// The gRPC server over one database: the four services, health and reflection.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "db/database.h"

namespace tessera::api {

inline constexpr uint64_t kRequestBytesMax = uint64_t{64} << 20;
inline constexpr int kServerThreadsMax = 256;

struct ServerOptions {
  std::string listen = "127.0.0.1:6334";  // HOST:PORT; port 0 takes a free one
  // Of gRPC's buffers in all; calls beyond it wait or answer kResourceExhausted. A request is at
  // most half of it, and at most kRequestBytesMax.
  uint64_t buffer_bytes_max = 2 * kRequestBytesMax;
  int search_threads = 0;  // that batches may use together; 0: one per core
};

class Server {
 public:
  // Listens when it returns. `database` outlives the server.
  // Errors: kInvalidArgument (no HOST:PORT), kUnavailable (the address is taken or not ours).
  static absl::StatusOr<std::unique_ptr<Server>> Start(db::Database& database,
                                                       const ServerOptions& options);
  // Shuts down at once.
  virtual ~Server() = default;

  // HOST:PORT with the port in use.
  virtual const std::string& address() const = 0;

  // Takes no new calls, lets running ones end until `grace` is over, then cancels them; returns
  // when all have ended. A second call does nothing.
  virtual void Shutdown(absl::Duration grace) = 0;
};

}  // namespace tessera::api
