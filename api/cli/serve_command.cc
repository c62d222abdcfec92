// serve: a gRPC server on a data directory.
#include <algorithm>
#include <functional>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

#include "api/cli/commands.h"
#include "api/cli/target.h"
#include "api/server.h"
#include "base/memory_budget.h"
#include "base/status_macros.h"
#include "db/database.h"

namespace tessera::api {
namespace {

constexpr absl::Duration kShutdownGrace = absl::Seconds(10);
// Below this gRPC's own bound does not go.
constexpr uint64_t kBufferBytesMin = 16 * kRequestBytesFloor;
constexpr uint64_t kServeMemoryLimitFloor = db::kMemoryLimitFloor + kBufferBytesMin;

struct ServeFlags {
  std::string data;
  std::string memory_limit;
  int threads = 0;
  ServerOptions server;
};

// The part of the process's limit for calls under way; the rest is the database's, which keeps its
// floor.
uint64_t BufferBytes(uint64_t memory_limit) {
  const uint64_t most =
      std::min(memory_limit - db::kMemoryLimitFloor, ServerOptions().buffer_bytes_max);
  return std::clamp(memory_limit / 8, kBufferBytesMin, most);
}

absl::Status Serve(ServeFlags flags, const CliEnvironment& environment) {
  if (!IsHostPort(flags.server.listen, 0)) {
    return UsageError(absl::StrCat("--listen is \"", flags.server.listen,
                                   "\", must be HOST:PORT with port 0 .. 65535"));
  }
  const std::function<void()> wait_for_stop = environment.watch_for_stop();
  db::DatabaseOptions options;
  TESSERA_ASSIGN_OR_RETURN(options.memory_limit, ResolveMemoryLimit(flags.memory_limit));
  if (options.memory_limit != 0) {
    if (options.memory_limit < kServeMemoryLimitFloor) {
      return UsageError(
          absl::StrCat("the memory limit is ", base::FormatByteSize(options.memory_limit),
                       ", a server needs at least ", base::FormatByteSize(kServeMemoryLimitFloor)));
    }
    flags.server.buffer_bytes_max = BufferBytes(options.memory_limit);
    options.memory_limit -= flags.server.buffer_bytes_max;
  }
  options.threads = flags.threads;
  flags.server.search_threads = flags.threads;
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<db::Database> database,
                           environment.open_database(flags.data, options));
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(*database, flags.server);
  if (!server.ok()) {
    database->Close().IgnoreError();  // the first failure is the one to tell
    return server.status();
  }
  environment.out << "tessera ready on " << (*server)->address() << " (data " << flags.data
                  << ", memory limit "
                  << base::FormatByteSize(database->Memory().limit_bytes +
                                          flags.server.buffer_bytes_max)
                  << ", requests up to "
                  << base::FormatByteSize(RequestBytesMax(flags.server)) << ", "
                  << database->ListCollections().size() << " collections)\n"
                  << std::flush;
  wait_for_stop();
  environment.err << "tessera: stopping\n" << std::flush;
  (*server)->Shutdown(kShutdownGrace);
  server->reset();
  return database->Close();
}

}  // namespace

void AddServe(CLI::App& app, Invocation* invocation) {
  CLI::App* command = app.add_subcommand(
      "serve",
      "serve a data directory over gRPC until SIGINT or SIGTERM; prints one line when "
      "it is ready");
  const auto flags = std::make_shared<ServeFlags>();
  command->add_option("--data", flags->data, "data directory; created when missing")
      ->type_name("DIR")
      ->required();
  command->add_option("--listen", flags->server.listen, "address to listen on; port 0: a free one")
      ->type_name("HOST:PORT")
      ->capture_default_str();
  command
      ->add_option("--memory-limit", flags->memory_limit,
                   "most memory to use, as 768MiB; default: TESSERA_MEMORY_LIMIT, else half of "
                   "the machine's")
      ->type_name("SIZE");
  command
      ->add_option("--threads", flags->threads,
                   "threads for batches of searches, loads and background work; default: one "
                   "per core")
      ->check(CLI::Range(1, 1024));
  command->callback([flags, invocation] {
    invocation->run = [flags, invocation] { return Serve(*flags, invocation->environment); };
  });
}

}  // namespace tessera::api
