// count and scroll.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"

#include "api/cli/commands.h"
#include "api/cli/filter/explain_text.h"
#include "api/cli/filter/filter_flags.h"
#include "api/cli/json_line.h"
#include "api/cli/scroller.h"
#include "api/cli/target.h"
#include "base/point_id.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

struct ScrollFlags {
  TargetFlags target;
  std::string name;
  std::string offset;
  uint64_t limit = 10;
  bool with_vectors = false;
  FilterFlags filter;
  std::string explain;
};

absl::Status Count(const ScrollFlags& flags, const CliEnvironment& environment) {
  db::CountParams params{.filter = {}, .explain = !flags.explain.empty()};
  TESSERA_ASSIGN_OR_RETURN(params.filter, MakeFilter(flags.filter));
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           Connect(flags.target, environment, {.reads_only = true}));
  const absl::StatusOr<db::CountResult> result = client->CountWhere(flags.name, params);
  TESSERA_RETURN_IF_ERROR(Finish(*client, result.status()));
  PrintWarnings(result->warnings, environment.err);
  environment.out
      << JsonLine().Text("collection", flags.name).Number("points", result->count).ToString()
      << "\n";
  if (result->explain.has_value()) {
    PrintExplain(*result->explain, "count", flags.explain, environment.out);
  }
  return absl::OkStatus();
}

absl::Status PrintPoints(Client& client, const ScrollFlags& flags,
                         std::optional<base::PointId> offset, std::optional<db::FilterText> filter,
                         const CliEnvironment& environment) {
  TESSERA_ASSIGN_OR_RETURN(const db::CollectionStats stats, client.Describe(flags.name));
  Scroller scroller(client, flags.name, std::move(offset),
                    {.payload = true, .vectors = flags.with_vectors}, std::move(filter));
  uint64_t left = flags.limit;
  while (left > 0) {
    TESSERA_ASSIGN_OR_RETURN(const std::vector<db::StoredPoint> points, scroller.Next(left));
    if (points.empty()) break;
    for (const db::StoredPoint& point : points) {
      environment.out << StoredPointJson(stats.schema, point, flags.with_vectors) << "\n";
    }
    left -= points.size();
  }
  PrintWarnings(scroller.warnings(), environment.err);
  if (scroller.next_offset().has_value()) {
    environment.err << "tessera: more follow from --offset " << scroller.next_offset()->ToString()
                    << "\n";
  }
  return absl::OkStatus();
}

absl::Status Scroll(const ScrollFlags& flags, const CliEnvironment& environment) {
  std::optional<base::PointId> offset;
  if (!flags.offset.empty()) {
    TESSERA_ASSIGN_OR_RETURN(offset, UsageErrorIfInvalid(base::PointId::Parse(flags.offset)));
  }
  TESSERA_ASSIGN_OR_RETURN(std::optional<db::FilterText> filter, MakeFilter(flags.filter));
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           Connect(flags.target, environment, {.reads_only = true}));
  return Finish(*client,
                PrintPoints(*client, flags, std::move(offset), std::move(filter), environment));
}

}  // namespace

void AddCount(CLI::App& app, Invocation* invocation) {
  CLI::App* command =
      app.add_subcommand("count", "count the points of a collection, or those that pass a filter");
  const auto flags = std::make_shared<ScrollFlags>();
  AddTargetFlags(*command, &flags->target);
  command->add_option("name", flags->name, "name of the collection")->type_name("NAME")->required();
  AddFilterFlags(*command, &flags->filter);
  AddExplainFlag(*command, &flags->explain);
  command->callback([flags, invocation] {
    invocation->run = [flags, invocation] { return Count(*flags, invocation->environment); };
  });
}

void AddScroll(CLI::App& app, Invocation* invocation) {
  CLI::App* command = app.add_subcommand(
      "scroll",
      "print points as JSON lines in the order of their ids: numbers, then UUIDs, then strings");
  const auto flags = std::make_shared<ScrollFlags>();
  AddTargetFlags(*command, &flags->target);
  command->add_option("name", flags->name, "name of the collection")->type_name("NAME")->required();
  command
      ->add_option("--offset", flags->offset,
                   "the first id wanted, there or not; default: from the beginning")
      ->type_name("ID");
  command
      ->add_option("--limit", flags->limit,
                   "most points to print; where more follow, stderr tells the next --offset")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 62))
      ->capture_default_str();
  command->add_flag("--with-vectors", flags->with_vectors, "print the vectors too");
  AddFilterFlags(*command, &flags->filter);
  command->callback([flags, invocation] {
    invocation->run = [flags, invocation] { return Scroll(*flags, invocation->environment); };
  });
}

}  // namespace tessera::api
