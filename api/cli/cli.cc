#include "api/cli/cli.h"

#include <algorithm>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

#include "api/cli/commands.h"
#include "base/strings.h"

namespace tessera::api {
namespace {

constexpr char kUsagePayload[] = "tessera/wrong-usage";

constexpr char kFooter[] =
    "Exit codes: 0 all was done, 1 something failed, 2 wrong usage.\n"
    "`tessera COMMAND --help` tells more about a command.";

absl::Status UnknownCommand(const CLI::App& app, const std::string& name) {
  std::string known;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    absl::StrAppend(&known, known.empty() ? "" : ", ", command->get_name());
  }
  return UsageError(absl::StrCat("there is no command \"", name, "\", there are ", known));
}

int Report(const absl::Status& status, std::ostream& err) {
  if (status.ok()) return kExitOk;
  if (IsUsageError(status)) {
    err << "tessera: " << status.message() << '\n';
    return kExitUsage;
  }
  err << "tessera: " << absl::StatusCodeToString(status.code()) << ": " << status.message() << '\n';
  return kExitFailure;
}

}  // namespace

absl::Status UsageError(std::string_view message) {
  absl::Status status = absl::InvalidArgumentError(base::Sv(message));
  status.SetPayload(kUsagePayload, absl::Cord());
  return status;
}

bool IsUsageError(const absl::Status& status) {
  return status.GetPayload(kUsagePayload).has_value();
}

int RunCli(int argc, const char* const* argv, const CliEnvironment& environment) {
  CLI::App app{"Tessera, a vector search database.", "tessera"};
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("tessera ") + TESSERA_VERSION);
  app.footer(kFooter);
  app.get_formatter()->column_width(34);
  Invocation invocation{.environment = environment, .run = nullptr};
  AddServe(app, &invocation);
  AddCreate(app, &invocation);
  AddIngest(app, &invocation);
  AddSearch(app, &invocation);
  AddGet(app, &invocation);
  AddSetPayload(app, &invocation);
  AddDelete(app, &invocation);
  AddCount(app, &invocation);
  AddScroll(app, &invocation);
  AddExport(app, &invocation);
  AddFacet(app, &invocation);
  AddStats(app, &invocation);
  AddList(app, &invocation);
  AddDrop(app, &invocation);
  AddVersion(app, &invocation);
  const auto commands = app.get_subcommands(nullptr);
  const bool known = std::any_of(commands.begin(), commands.end(), [&](const CLI::App* command) {
    return argc > 1 && command->get_name() == argv[1];
  });
  if (argc > 1 && *argv[1] != '-' && !known) {
    return Report(UnknownCommand(app, argv[1]), environment.err);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, environment.out, environment.err) == 0 ? kExitOk : kExitUsage;
  }
  absl::Status status = invocation.run();
  environment.out.flush();
  if (status.ok() && !environment.out) {
    status = absl::ResourceExhaustedError("cannot write to standard output");
  }
  return Report(status, environment.err);
}

}  // namespace tessera::api
