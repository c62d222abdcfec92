// create, list, stats, drop and version.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "api/cli/commands.h"
#include "api/cli/json_line.h"
#include "api/cli/target.h"
#include "base/memory_budget.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::api {
namespace {

using base::Sv;

struct CreateFlags {
  TargetFlags target;
  std::string name;
  uint32_t dim = 0;
  std::string metric;
  std::string type = "f32";
  std::vector<std::string> vectors;
};

struct NameFlags {
  TargetFlags target;
  std::string name;
  std::string output = "text";
};

absl::StatusOr<base::VectorFieldSchema> MakeField(std::string_view name, uint32_t dim,
                                                  std::string_view metric, std::string_view type) {
  base::VectorFieldSchema field{.name = std::string(name), .dim = dim};
  TESSERA_ASSIGN_OR_RETURN(field.metric, base::ParseMetric(metric));
  TESSERA_ASSIGN_OR_RETURN(field.type, base::ParseElementType(type));
  return field;
}

// NAME:DIM:METRIC[:TYPE].
absl::StatusOr<base::VectorFieldSchema> ParseField(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  uint32_t dim = 0;
  if (parts.size() < 3 || parts.size() > 4 || !absl::SimpleAtoi(parts[1], &dim)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--vector is \"", text, "\", must be NAME:DIM:METRIC or NAME:DIM:METRIC:TYPE"));
  }
  return MakeField(parts[0], dim, parts[2], parts.size() == 4 ? parts[3] : "f32");
}

absl::StatusOr<base::CollectionSchema> MakeSchema(const CreateFlags& flags) {
  base::CollectionSchema schema{.name = flags.name, .vectors = {}};
  if (flags.dim != 0 || !flags.metric.empty() || flags.vectors.empty()) {
    if (flags.dim == 0 || flags.metric.empty()) {
      return absl::InvalidArgumentError(
          "--dim and --metric describe the default vector and are given together; named vectors "
          "are given with --vector");
    }
    TESSERA_ASSIGN_OR_RETURN(schema.vectors.emplace_back(),
                             MakeField("", flags.dim, flags.metric, flags.type));
  }
  for (const std::string& text : flags.vectors) {
    TESSERA_ASSIGN_OR_RETURN(schema.vectors.emplace_back(), ParseField(text));
  }
  TESSERA_RETURN_IF_ERROR(base::Validate(schema));
  return schema;
}

absl::Status Create(const CreateFlags& flags, const CliEnvironment& environment) {
  const absl::StatusOr<base::CollectionSchema> schema = MakeSchema(flags);
  if (!schema.ok()) return UsageError(base::StdSv(schema.status().message()));
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           Connect(flags.target, environment, {.create_if_missing = true}));
  TESSERA_RETURN_IF_ERROR(Finish(*client, client->CreateCollection(*schema)));
  environment.out << JsonLine().Text("created", schema->name).ToString() << "\n";
  return absl::OkStatus();
}

std::string FieldJson(const base::VectorFieldSchema& field) {
  return JsonLine()
      .Text("field", field.name)
      .Number("dim", uint64_t{field.dim})
      .Text("metric", base::ToString(field.metric))
      .Text("type", base::ToString(field.type))
      .ToString();
}

// "default 784 x u8, l2; title 384 x f32, cosine".
std::string FieldsText(const base::CollectionSchema& schema) {
  std::string text;
  for (const base::VectorFieldSchema& field : schema.vectors) {
    absl::StrAppend(&text, text.empty() ? "" : "; ", field.name.empty() ? "default" : field.name,
                    " ", field.dim, " x ", Sv(base::ToString(field.type)), ", ",
                    Sv(base::ToString(field.metric)));
  }
  return text;
}

absl::Status List(const NameFlags& flags, const CliEnvironment& environment) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           Connect(flags.target, environment, {.reads_only = true}));
  const auto schemas = client->ListCollections();
  TESSERA_RETURN_IF_ERROR(Finish(*client, schemas.status()));
  for (const base::CollectionSchema& schema : *schemas) {
    if (flags.output == "text") {
      environment.out << schema.name << "  " << FieldsText(schema) << "\n";
      continue;
    }
    std::string fields;
    for (const base::VectorFieldSchema& field : schema.vectors) {
      absl::StrAppend(&fields, fields.empty() ? "" : ",", FieldJson(field));
    }
    environment.out << JsonLine()
                           .Text("collection", schema.name)
                           .Json("vectors", absl::StrCat("[", fields, "]"))
                           .ToString()
                    << "\n";
  }
  return absl::OkStatus();
}

std::string StatsJson(const db::CollectionStats& stats, const ClientMemory& memory) {
  std::string fields;
  for (const db::FieldStats& field : stats.fields) {
    absl::StrAppend(&fields, fields.empty() ? "" : ",",
                    JsonLine()
                        .Text("field", field.schema.name)
                        .Number("dim", uint64_t{field.schema.dim})
                        .Text("metric", base::ToString(field.schema.metric))
                        .Text("type", base::ToString(field.schema.type))
                        .Number("lists", field.lists)
                        .Number("absorbed_rows", field.absorbed_rows)
                        .Number("fresh_rows", field.fresh_rows)
                        .Number("memory_bytes", field.memory_bytes)
                        .Number("disk_bytes", field.disk_bytes)
                        .Number("default_nprobe", uint64_t{field.default_nprobe})
                        .ToString());
  }
  const std::string process = JsonLine()
                                  .Number("limit_bytes", memory.limit_bytes)
                                  .Number("used_bytes", memory.used_bytes)
                                  .Number("resident_bytes", memory.resident_bytes)
                                  .ToString();
  return JsonLine()
      .Text("collection", stats.schema.name)
      .Number("points", stats.points)
      .Json("vectors", absl::StrCat("[", fields, "]"))
      .Json("memory", process)
      .ToString();
}

std::string StatsText(const db::CollectionStats& stats, const ClientMemory& memory) {
  std::string text =
      absl::StrCat("collection ", stats.schema.name, ": ", stats.points, " points\n");
  for (const db::FieldStats& field : stats.fields) {
    absl::StrAppend(&text, "vector ", field.schema.name.empty() ? "default" : field.schema.name,
                    ": ", field.schema.dim, " x ", Sv(base::ToString(field.schema.type)), ", ",
                    Sv(base::ToString(field.schema.metric)), "\n  rows    ", field.absorbed_rows,
                    " in ", field.lists, " lists, ", field.fresh_rows, " fresh\n  memory  ",
                    base::FormatByteSize(field.memory_bytes), "\n  disk    ",
                    base::FormatByteSize(field.disk_bytes), "\n  nprobe  ", field.default_nprobe,
                    "\n");
  }
  absl::StrAppend(&text, "process: ", base::FormatByteSize(memory.resident_bytes), " resident, ",
                  base::FormatByteSize(memory.used_bytes), " reserved of ",
                  base::FormatByteSize(memory.limit_bytes), "\n");
  return text;
}

absl::Status Stats(const NameFlags& flags, const CliEnvironment& environment) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           Connect(flags.target, environment, {.reads_only = true}));
  const auto stats = client->Describe(flags.name);
  const auto memory = client->Memory();
  TESSERA_RETURN_IF_ERROR(Finish(*client, stats.ok() ? memory.status() : stats.status()));
  if (flags.output == "json") {
    environment.out << StatsJson(*stats, *memory) << "\n";
  } else {
    environment.out << StatsText(*stats, *memory);
  }
  return absl::OkStatus();
}

absl::Status Drop(const NameFlags& flags, const CliEnvironment& environment) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           Connect(flags.target, environment, {}));
  TESSERA_RETURN_IF_ERROR(Finish(*client, client->DropCollection(flags.name)));
  environment.out << JsonLine().Text("dropped", flags.name).ToString() << "\n";
  return absl::OkStatus();
}

void AddOutputFlag(CLI::App& command, NameFlags* flags) {
  command.add_option("--output", flags->output, "json or text")
      ->check(CLI::IsMember({"json", "text"}))
      ->capture_default_str();
}

}  // namespace

void AddCreate(CLI::App& app, Invocation* invocation) {
  CLI::App* command = app.add_subcommand("create", "create a collection");
  const auto flags = std::make_shared<CreateFlags>();
  AddTargetFlags(*command, &flags->target);
  command->add_option("name", flags->name, "name of the collection")->type_name("NAME")->required();
  command->add_option("--dim", flags->dim, "components of the default vector")
      ->check(CLI::Range(uint32_t{1}, base::kDimMax));
  command->add_option("--metric", flags->metric, "metric of the default vector")
      ->check(CLI::IsMember({"cosine", "l2", "ip"}));
  command->add_option("--type", flags->type, "element type of the default vector")
      ->check(CLI::IsMember({"f32", "f16", "i8", "u8"}))
      ->capture_default_str();
  command->add_option("--vector", flags->vectors, "a named vector; may be repeated")
      ->type_name("NAME:DIM:METRIC[:TYPE]")
      ->allow_extra_args(false);
  command->callback([flags, invocation] {
    invocation->run = [flags, invocation] { return Create(*flags, invocation->environment); };
  });
}

void AddList(CLI::App& app, Invocation* invocation) {
  CLI::App* command = app.add_subcommand("list", "list the collections");
  const auto flags = std::make_shared<NameFlags>();
  AddTargetFlags(*command, &flags->target);
  AddOutputFlag(*command, flags.get());
  command->callback([flags, invocation] {
    invocation->run = [flags, invocation] { return List(*flags, invocation->environment); };
  });
}

void AddStats(CLI::App& app, Invocation* invocation) {
  CLI::App* command = app.add_subcommand("stats", "show what a collection holds and takes");
  const auto flags = std::make_shared<NameFlags>();
  AddTargetFlags(*command, &flags->target);
  command->add_option("name", flags->name, "name of the collection")->type_name("NAME")->required();
  AddOutputFlag(*command, flags.get());
  command->callback([flags, invocation] {
    invocation->run = [flags, invocation] { return Stats(*flags, invocation->environment); };
  });
}

void AddDrop(CLI::App& app, Invocation* invocation) {
  CLI::App* command = app.add_subcommand("drop", "drop a collection and all its points");
  const auto flags = std::make_shared<NameFlags>();
  AddTargetFlags(*command, &flags->target);
  command->add_option("name", flags->name, "name of the collection")->type_name("NAME")->required();
  command->callback([flags, invocation] {
    invocation->run = [flags, invocation] { return Drop(*flags, invocation->environment); };
  });
}

void AddVersion(CLI::App& app, Invocation* invocation) {
  CLI::App* command = app.add_subcommand("version", "print the version");
  command->callback([invocation] {
    invocation->run = [invocation] {
      invocation->environment.out << "tessera " << TESSERA_VERSION << "\n";
      return absl::OkStatus();
    };
  });
}

}  // namespace tessera::api
