// get and delete.
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"

#include "api/cli/commands.h"
#include "api/cli/json_line.h"
#include "api/cli/target.h"
#include "base/point_id.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::api {
namespace {

struct PointFlags {
  TargetFlags target;
  std::string name;
  std::vector<std::string> ids;
  bool with_vectors = false;
};

absl::StatusOr<std::vector<base::PointId>> ParseIds(const std::vector<std::string>& texts) {
  std::vector<base::PointId> ids;
  for (const std::string& text : texts) {
    absl::StatusOr<base::PointId> id = base::PointId::Parse(text);
    if (!id.ok()) return UsageError(base::StdSv(id.status().message()));
    ids.push_back(*std::move(id));
  }
  return ids;
}

// kNotFound naming the ids that are not among `points`.
absl::Status ExpectAll(const std::string& name, const std::vector<base::PointId>& ids,
                       const std::vector<db::StoredPoint>& points) {
  std::set<base::PointId> found;
  for (const db::StoredPoint& point : points) found.insert(point.id);
  std::string absent;
  for (const base::PointId& id : ids) {
    if (!found.contains(id)) absl::StrAppend(&absent, absent.empty() ? "" : ", ", id.ToString());
  }
  if (absent.empty()) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("collection ", name, " has no point ", absent));
}

absl::Status Get(const PointFlags& flags, const CliEnvironment& environment) {
  TESSERA_ASSIGN_OR_RETURN(const std::vector<base::PointId> ids, ParseIds(flags.ids));
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           Connect(flags.target, environment, {.reads_only = true}));
  const auto described = client->Describe(flags.name);
  const auto points =
      client->Get(flags.name, ids, {.payload = true, .vectors = flags.with_vectors});
  TESSERA_RETURN_IF_ERROR(Finish(*client, described.ok() ? points.status() : described.status()));
  for (const db::StoredPoint& point : *points) {
    JsonLine line;
    line.Id("id", point.id).Number("version", point.version);
    line.Json("payload", point.payload.ToJson());
    if (flags.with_vectors) line.Json("vectors", JsonVectors(described->schema, point.vectors));
    environment.out << line.ToString() << "\n";
  }
  return ExpectAll(flags.name, ids, *points);
}

absl::Status Delete(const PointFlags& flags, const CliEnvironment& environment) {
  TESSERA_ASSIGN_OR_RETURN(const std::vector<base::PointId> ids, ParseIds(flags.ids));
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           Connect(flags.target, environment, {}));
  const absl::StatusOr<uint64_t> deleted = client->Delete(flags.name, ids);
  TESSERA_RETURN_IF_ERROR(Finish(*client, deleted.status()));
  environment.out << JsonLine()
                         .Text("collection", flags.name)
                         .Number("deleted", *deleted)
                         .Number("absent", uint64_t{ids.size()} - *deleted)
                         .ToString()
                  << "\n";
  return absl::OkStatus();
}

CLI::App* AddPointCommand(CLI::App& app, const std::string& name, const std::string& description,
                          PointFlags* flags) {
  CLI::App* command = app.add_subcommand(name, description);
  AddTargetFlags(*command, &flags->target);
  command->add_option("name", flags->name, "name of the collection")->type_name("NAME")->required();
  command->add_option("ids", flags->ids, "ids: numbers, UUIDs or strings")
      ->type_name("ID")
      ->required();
  return command;
}

}  // namespace

void AddGet(CLI::App& app, Invocation* invocation) {
  const auto flags = std::make_shared<PointFlags>();
  CLI::App* command = AddPointCommand(
      app, "get", "print points as JSON lines; fails when one is absent", flags.get());
  command->add_flag("--with-vectors", flags->with_vectors, "print the vectors too");
  command->callback([flags, invocation] {
    invocation->run = [flags, invocation] { return Get(*flags, invocation->environment); };
  });
}

void AddDelete(CLI::App& app, Invocation* invocation) {
  const auto flags = std::make_shared<PointFlags>();
  CLI::App* command = AddPointCommand(
      app, "delete", "delete points; one that is absent already is no failure", flags.get());
  command->callback([flags, invocation] {
    invocation->run = [flags, invocation] { return Delete(*flags, invocation->environment); };
  });
}

}  // namespace tessera::api
