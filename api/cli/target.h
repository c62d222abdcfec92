// Where the data of a command is: a directory of this machine or a server.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "api/cli/cli.h"
#include "api/client.h"

namespace CLI {
class App;
}

namespace tessera::api {

struct TargetFlags {
  std::string data;
  std::string server;
  std::string memory_limit;
};

// --data, --server and --memory-limit.
void AddTargetFlags(CLI::App& command, TargetFlags* flags);

// How a command opens a data directory.
struct OpenMode {
  bool create_if_missing = false;
  bool background_absorb = false;  // a command that only reads shall not be disturbed
  bool reads_only = false;         // it does so also where the directory cannot be written to
  int threads = 0;
};

// --memory-limit, else the environment's TESSERA_MEMORY_LIMIT, else 0.
// Errors: UsageError when it is no size or below db::kMemoryLimitFloor.
absl::StatusOr<uint64_t> ResolveMemoryLimit(const std::string& flag);

// HOST:PORT with a port of port_min .. 65535.
bool IsHostPort(const std::string& address, uint32_t port_min);

// Errors: UsageError unless exactly one of --data and --server is given and makes sense.
absl::Status CheckTarget(const TargetFlags& flags);

// CheckTarget, then a client. Errors: those of db::Database::Open.
absl::StatusOr<std::unique_ptr<Client>> Connect(const TargetFlags& flags,
                                                const CliEnvironment& environment,
                                                const OpenMode& mode);

// Closes the client, whose error counts when the command's own work went well.
absl::Status Finish(Client& client, const absl::Status& done);

}  // namespace tessera::api
