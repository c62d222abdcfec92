// The subcommands: each Add function declares one to the parser.
//
// Threads: one.
#pragma once

#include <functional>

#include "absl/status/status.h"

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

void AddServe(CLI::App& app, Invocation* invocation);
void AddCreate(CLI::App& app, Invocation* invocation);
void AddIngest(CLI::App& app, Invocation* invocation);
void AddSearch(CLI::App& app, Invocation* invocation);
void AddGet(CLI::App& app, Invocation* invocation);
void AddDelete(CLI::App& app, Invocation* invocation);
void AddStats(CLI::App& app, Invocation* invocation);
void AddList(CLI::App& app, Invocation* invocation);
void AddDrop(CLI::App& app, Invocation* invocation);
void AddVersion(CLI::App& app, Invocation* invocation);

}  // namespace tessera::api
