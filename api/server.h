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
// What every server takes, and what clients of gRPC expect without asking.
inline constexpr uint64_t kRequestBytesFloor = uint64_t{4} << 20;

struct ServerOptions {
  std::string listen = "127.0.0.1:6334";  // HOST:PORT; port 0 takes a free one

  // Memory of all calls together, to be left free by the database's limit. It bounds what gRPC
  // holds between sockets and messages (not below 64 MiB): beyond, calls break off with
  // kResourceExhausted or kUnavailable. Three quarters of it (not below 16 MiB) bound what requests
  // and replies take as messages and in the engine's form: calls beyond wait up to 30 s, then
  // answer kResourceExhausted; so does a call that needs more alone, at once and for good.
  uint64_t buffer_bytes_max = 4 * kRequestBytesMax;

  // Threads of one batch of searches, as the database has them; 0: one per core.
  int search_threads = 0;

  // An ingest whose client sends nothing for so long is ended (kDeadlineExceeded): it may keep other
  // writers from its collection.
  absl::Duration ingest_idle_timeout = absl::Seconds(60);
};

// The most bytes of one request: a quarter of `buffer_bytes_max`, within kRequestBytesFloor ..
// kRequestBytesMax. A longer request answers kResourceExhausted.
uint64_t RequestBytesMax(const ServerOptions& options);

// The most bytes of one reply: an eighth, within the same bounds, as a reply is in memory three times
// while it is made. A reply has no more than kReplyBytesDefault unless its request asks for more; Get
// and searches whose reply would be longer answer kInvalidArgument; a page of Scroll ends earlier.
uint64_t ReplyBytesMax(const ServerOptions& options);

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

  // Takes no new calls, ends ingests (kUnavailable), lets other calls end until `grace` is over,
  // then cancels them; returns when all have ended. A second call does nothing.
  virtual void Shutdown(absl::Duration grace) = 0;
};

}  // namespace tessera::api
