// facet: the values of a path, with how many points have each.
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>

#include "api/cli/commands.h"
#include "api/cli/filter/filter_flags.h"
#include "api/cli/json_line.h"
#include "api/cli/target.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

struct FacetFlags {
  TargetFlags target;
  std::string name;
  std::string path;
  uint32_t limit = 10;
  FilterFlags filter;
};

absl::Status Facet(const FacetFlags& flags, const CliEnvironment& environment) {
  db::FacetParams params{.path = flags.path, .limit = flags.limit, .filter = {}};
  TESSERA_ASSIGN_OR_RETURN(params.filter, MakeFilter(flags.filter));
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           Connect(flags.target, environment, {.reads_only = true}));
  const absl::StatusOr<db::FacetResult> result = client->Facet(flags.name, params);
  TESSERA_RETURN_IF_ERROR(Finish(*client, result.status()));
  PrintWarnings(result->warnings, environment.err);
  for (const db::FacetValue& value : result->values) {
    environment.out
        << JsonLine().Json("value", value.value.ToJson()).Number("points", value.count).ToString()
        << "\n";
  }
  environment.err << "tessera: " << result->points << " points"
                  << (params.filter.has_value() ? " pass the filter" : "") << ", "
                  << result->distinct << " values\n";
  return absl::OkStatus();
}

}  // namespace

void AddFacet(CLI::App& app, Invocation* invocation) {
  CLI::App* command = app.add_subcommand(
      "facet", "print the values of a payload path as JSON lines, those of most points first");
  const auto flags = std::make_shared<FacetFlags>();
  AddTargetFlags(*command, &flags->target);
  command->add_option("name", flags->name, "name of the collection")->type_name("NAME")->required();
  command->add_option("path", flags->path, "names with dots between them; odd ones in backquotes")
      ->type_name("PATH")
      ->required();
  command->add_option("--limit", flags->limit, "most values to print")
      ->check(CLI::Range(uint32_t{1}, base::kLimitMax))
      ->capture_default_str();
  AddFilterFlags(*command, &flags->filter);
  command->callback([flags, invocation] {
    invocation->run = [flags, invocation] { return Facet(*flags, invocation->environment); };
  });
}

}  // namespace tessera::api
