// get and delete.
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"

#include "api/cli/commands.h"
#include "api/cli/filter/filter_flags.h"
#include "api/cli/json_line.h"
#include "api/cli/target.h"
#include "api/inputs/id_lines.h"
#include "base/point_id.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::api {
namespace {

// Ids of one call: at most 2 MiB of them, so that every server takes it.
constexpr size_t kIdsPerCall = 4096;

struct PointFlags {
  TargetFlags target;
  std::string name;
  std::vector<std::string> ids;
  std::string ids_path;
  bool with_vectors = false;
  FilterFlags filter;
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
    environment.out << StoredPointJson(described->schema, point, flags.with_vectors) << "\n";
  }
  return ExpectAll(flags.name, ids, *points);
}

struct DeleteCounts {
  uint64_t ids = 0;  // of calls that are done
  uint64_t deleted = 0;
};

absl::Status DeleteBatch(Client& client, const std::string& name,
                         const std::vector<base::PointId>& ids, DeleteCounts* counts) {
  TESSERA_ASSIGN_OR_RETURN(const uint64_t deleted, client.Delete(name, ids));
  counts->ids += ids.size();
  counts->deleted += deleted;
  return absl::OkStatus();
}

absl::Status DeleteFile(Client& client, const PointFlags& flags, DeleteCounts* counts) {
  TESSERA_ASSIGN_OR_RETURN(IdLines lines, IdLines::Open(flags.ids_path));
  std::vector<base::PointId> batch;
  for (;;) {
    TESSERA_RETURN_IF_ERROR(lines.NextBatch(kIdsPerCall, &batch));
    if (batch.empty()) return absl::OkStatus();
    TESSERA_RETURN_IF_ERROR(DeleteBatch(client, flags.name, batch, counts));
  }
}

absl::Status DeleteByFilter(const PointFlags& flags, const CliEnvironment& environment) {
  if (!flags.ids.empty() || !flags.ids_path.empty()) {
    return UsageError("both ids and --filter are given, one of them is needed");
  }
  TESSERA_ASSIGN_OR_RETURN(const std::optional<db::FilterText> filter, MakeFilter(flags.filter));
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           Connect(flags.target, environment, {}));
  const absl::StatusOr<db::ChangeResult> result = client->DeleteWhere(flags.name, *filter);
  TESSERA_RETURN_IF_ERROR(Finish(*client, result.status()));
  PrintWarnings(result->warnings, environment.err);
  environment.out
      << JsonLine().Text("collection", flags.name).Number("deleted", result->points).ToString()
      << "\n";
  return absl::OkStatus();
}

absl::Status Delete(const PointFlags& flags, const CliEnvironment& environment) {
  if (flags.filter.expression.has_value()) return DeleteByFilter(flags, environment);
  TESSERA_RETURN_IF_ERROR(MakeFilter(flags.filter).status());
  if (flags.ids.empty() == flags.ids_path.empty()) {
    return UsageError(flags.ids.empty()
                          ? "neither ids, --ids nor --filter are given, one of them is needed"
                          : "both ids and --ids are given, one of them is needed");
  }
  TESSERA_ASSIGN_OR_RETURN(const std::vector<base::PointId> ids, ParseIds(flags.ids));
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           Connect(flags.target, environment, {}));
  DeleteCounts counts;
  absl::Status status = flags.ids_path.empty() ? DeleteBatch(*client, flags.name, ids, &counts)
                                               : DeleteFile(*client, flags, &counts);
  if (!status.ok() && !flags.ids_path.empty()) {
    status = absl::Status(status.code(),
                          absl::StrCat(status.message(), " (", counts.deleted, " points deleted)"));
  }
  TESSERA_RETURN_IF_ERROR(Finish(*client, status));
  environment.out << JsonLine()
                         .Text("collection", flags.name)
                         .Number("deleted", counts.deleted)
                         .Number("absent", counts.ids - counts.deleted)
                         .ToString()
                  << "\n";
  return absl::OkStatus();
}

CLI::App* AddPointCommand(CLI::App& app, const std::string& name, const std::string& description,
                          PointFlags* flags) {
  CLI::App* command = app.add_subcommand(name, description);
  AddTargetFlags(*command, &flags->target);
  command->add_option("name", flags->name, "name of the collection")->type_name("NAME")->required();
  command
      ->add_option("ids", flags->ids,
                   "ids: numbers, UUIDs or strings; text that reads as a number or a UUID is one")
      ->type_name("ID");
  return command;
}

}  // namespace

void AddGet(CLI::App& app, Invocation* invocation) {
  const auto flags = std::make_shared<PointFlags>();
  CLI::App* command = AddPointCommand(
      app, "get", "print points as JSON lines; fails when one is absent", flags.get());
  command->get_option("ids")->required();
  command->add_flag("--with-vectors", flags->with_vectors, "print the vectors too");
  command->callback([flags, invocation] {
    invocation->run = [flags, invocation] { return Get(*flags, invocation->environment); };
  });
}

void AddDelete(CLI::App& app, Invocation* invocation) {
  const auto flags = std::make_shared<PointFlags>();
  CLI::App* command = AddPointCommand(
      app, "delete",
      "delete points, or all that pass --filter; one that is absent already is no failure",
      flags.get());
  command
      ->add_option("--ids", flags->ids_path,
                   "instead: file of ids, one a line, deleted in batches; - is stdin")
      ->type_name("FILE");
  AddFilterFlags(*command, &flags->filter);
  command->callback([flags, invocation] {
    invocation->run = [flags, invocation] { return Delete(*flags, invocation->environment); };
  });
}

}  // namespace tessera::api
