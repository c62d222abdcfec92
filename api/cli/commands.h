// The subcommands: each Add function declares one to the parser.
//
// Threads: one.
#pragma once

#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "api/cli/cli.h"

namespace CLI {
class App;
}

namespace tessera::api {

// What parsing leaves behind: the chosen command, ready to run.
//
// Errors of `run`: UsageError for arguments that cannot be meant, else what failed.
struct Invocation {
  const CliEnvironment& environment;
  std::function<absl::Status()> run;
};

// A wrong command line: exit code 2.
absl::Status UsageError(std::string_view message);
bool IsUsageError(const absl::Status& status);

// `result`, its kInvalidArgument turned into a UsageError.
template <typename T>
absl::StatusOr<T> UsageErrorIfInvalid(absl::StatusOr<T> result) {
  if (!absl::IsInvalidArgument(result.status())) return result;
  return UsageError({result.status().message().data(), result.status().message().size()});
}

void AddServe(CLI::App& app, Invocation* invocation);
void AddCreate(CLI::App& app, Invocation* invocation);
void AddIngest(CLI::App& app, Invocation* invocation);
void AddSearch(CLI::App& app, Invocation* invocation);
void AddGet(CLI::App& app, Invocation* invocation);
void AddDelete(CLI::App& app, Invocation* invocation);
void AddCount(CLI::App& app, Invocation* invocation);
void AddScroll(CLI::App& app, Invocation* invocation);
void AddExport(CLI::App& app, Invocation* invocation);
void AddSetPayload(CLI::App& app, Invocation* invocation);
void AddFacet(CLI::App& app, Invocation* invocation);
void AddStats(CLI::App& app, Invocation* invocation);
void AddList(CLI::App& app, Invocation* invocation);
void AddDrop(CLI::App& app, Invocation* invocation);
void AddVersion(CLI::App& app, Invocation* invocation);

}  // namespace tessera::api
