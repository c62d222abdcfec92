#include "api/cli/target.h"

#include <cstdlib>
#include <utility>

#include <CLI/CLI.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "api/cli/commands.h"
#include "base/memory_budget.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::api {
namespace {

constexpr char kMemoryLimitVariable[] = "TESSERA_MEMORY_LIMIT";

}  // namespace

void AddTargetFlags(CLI::App& command, TargetFlags* flags) {
  command.add_option("--data", flags->data, "data directory to work on")->type_name("DIR");
  command.add_option("--server", flags->server, "server to work on instead")
      ->type_name("HOST:PORT");
  command
      .add_option("--memory-limit", flags->memory_limit,
                  absl::StrCat("most memory to use with --data, as 768MiB; default: ",
                               kMemoryLimitVariable, ", else half of the machine's"))
      ->type_name("SIZE");
}

absl::StatusOr<uint64_t> ResolveMemoryLimit(const std::string& flag) {
  std::string name = "--memory-limit";
  std::string text = flag;
  if (text.empty()) {
    const char* variable = std::getenv(kMemoryLimitVariable);
    if (variable == nullptr || *variable == '\0') return 0;
    name = kMemoryLimitVariable;
    text = variable;
  }
  const absl::StatusOr<uint64_t> bytes = base::ParseByteSize(text);
  if (!bytes.ok()) {
    return UsageError(base::StdSv(absl::StrCat(name, ": ", bytes.status().message())));
  }
  if (*bytes < db::kMemoryLimitFloor) {
    return UsageError(
        base::StdSv(absl::StrCat(name, " is ", base::FormatByteSize(*bytes), ", must be at least ",
                                 base::FormatByteSize(db::kMemoryLimitFloor))));
  }
  return *bytes;
}

bool IsHostPort(const std::string& address, uint32_t port_min) {
  const size_t colon = address.rfind(':');
  uint32_t port = 0;
  return colon != std::string::npos && colon > 0 &&
         absl::SimpleAtoi(address.substr(colon + 1), &port) && port >= port_min && port <= 65535;
}

absl::Status CheckTarget(const TargetFlags& flags) {
  if (flags.data.empty() == flags.server.empty()) {
    return UsageError(flags.data.empty()
                          ? "neither --data nor --server is given, exactly one is needed"
                          : "both --data and --server are given, exactly one is needed");
  }
  if (flags.server.empty()) return ResolveMemoryLimit(flags.memory_limit).status();
  if (!IsHostPort(flags.server, 1)) {
    return UsageError(
        absl::StrCat("--server is \"", flags.server, "\", must be HOST:PORT with port 1 .. 65535"));
  }
  if (!flags.memory_limit.empty()) {
    return UsageError(
        "--memory-limit goes with --data; a server has the limit it was started with");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Client>> Connect(const TargetFlags& flags,
                                                const CliEnvironment& environment,
                                                const OpenMode& mode) {
  TESSERA_RETURN_IF_ERROR(CheckTarget(flags));
  if (!flags.server.empty()) return NewRemoteClient(flags.server);
  db::DatabaseOptions options;
  TESSERA_ASSIGN_OR_RETURN(options.memory_limit, ResolveMemoryLimit(flags.memory_limit));
  options.create_if_missing = mode.create_if_missing;
  options.background_absorb = mode.background_absorb;
  options.threads = mode.threads;
  absl::StatusOr<std::unique_ptr<db::Database>> database =
      environment.open_database(flags.data, options);
  if (mode.reads_only && absl::IsPermissionDenied(database.status())) {
    options.read_only = true;
    database = environment.open_database(flags.data, options);
  }
  TESSERA_RETURN_IF_ERROR(database.status());
  return NewLocalClient(*std::move(database));
}

absl::Status Finish(Client& client, const absl::Status& done) {
  absl::Status closed = client.Close();
  return done.ok() ? closed : done;
}

}  // namespace tessera::api
