// export: all points of a collection into files that ingest reads.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "api/cli/commands.h"
#include "api/cli/filter/filter_flags.h"
#include "api/cli/json_line.h"
#include "api/cli/output_file.h"
#include "api/cli/progress_bar.h"
#include "api/cli/raw_files.h"
#include "api/cli/scroller.h"
#include "api/cli/target.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

struct ExportFlags {
  TargetFlags target;
  std::string name;
  std::string output = "-";
  RawFileOptions raw;
  bool progress = false;
  FilterFlags filter;

  bool is_raw() const { return !raw.vectors.empty() || !raw.ids.empty() || !raw.payload.empty(); }
};

using PointSink = std::function<absl::Status(const db::StoredPoint&)>;

absl::StatusOr<uint64_t> ForEachPoint(Client& client, const ExportFlags& flags,
                                      const CliEnvironment& environment, const PointSink& sink) {
  TESSERA_ASSIGN_OR_RETURN(const std::optional<db::FilterText> filter, MakeFilter(flags.filter));
  TESSERA_ASSIGN_OR_RETURN(const db::CountResult total,
                           client.CountWhere(flags.name, {.filter = filter}));
  PrintWarnings(total.warnings, environment.err);
  ProgressBar bar(environment.err, flags.progress || environment.err_is_terminal);
  Scroller scroller(client, flags.name, std::nullopt, {.payload = true, .vectors = true}, filter);
  uint64_t done = 0;
  for (;;) {
    TESSERA_ASSIGN_OR_RETURN(const std::vector<db::StoredPoint> points, scroller.Next(UINT64_MAX));
    if (points.empty()) return done;
    for (const db::StoredPoint& point : points) TESSERA_RETURN_IF_ERROR(sink(point));
    done += points.size();
    bar.Update("export", done, total.count);
  }
}

absl::StatusOr<uint64_t> ExportRaw(Client& client, const base::CollectionSchema& schema,
                                   const ExportFlags& flags, const CliEnvironment& environment) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<RawFiles> files,
                           RawFiles::Create(schema, flags.raw));
  TESSERA_ASSIGN_OR_RETURN(const uint64_t points, ForEachPoint(client, flags, environment,
                                                               [&](const db::StoredPoint& point) {
                                                                 return files->Add(point);
                                                               }));
  TESSERA_RETURN_IF_ERROR(files->Commit());
  return points;
}

absl::StatusOr<uint64_t> ExportLines(Client& client, const base::CollectionSchema& schema,
                                     const ExportFlags& flags, const CliEnvironment& environment) {
  std::unique_ptr<OutputFile> file;
  if (flags.output != "-") {
    TESSERA_ASSIGN_OR_RETURN(file, OutputFile::Create(flags.output));
  }
  const auto write = [&](const db::StoredPoint& point) -> absl::Status {
    const std::string line = JsonLine()
                                 .Id("id", point.id)
                                 .Json("vectors", JsonVectors(schema, point.vectors))
                                 .Json("payload", JsonPayload(point))
                                 .ToString();
    if (file != nullptr) return file->Write(line + "\n");
    environment.out << line << "\n";
    if (!environment.out) return absl::ResourceExhaustedError("cannot write to standard output");
    return absl::OkStatus();
  };
  TESSERA_ASSIGN_OR_RETURN(const uint64_t points, ForEachPoint(client, flags, environment, write));
  if (file != nullptr) TESSERA_RETURN_IF_ERROR(file->Commit());
  return points;
}

absl::StatusOr<uint64_t> RunExport(Client& client, const ExportFlags& flags,
                                   const CliEnvironment& environment) {
  TESSERA_ASSIGN_OR_RETURN(const db::CollectionStats stats, client.Describe(flags.name));
  return flags.is_raw() ? ExportRaw(client, stats.schema, flags, environment)
                        : ExportLines(client, stats.schema, flags, environment);
}

absl::Status Export(const ExportFlags& flags, const CliEnvironment& environment) {
  if (flags.is_raw() && flags.output != "-") {
    return UsageError("--output is for JSON lines, which --vector, --ids and --payload replace");
  }
  TESSERA_RETURN_IF_ERROR(MakeFilter(flags.filter).status());
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           Connect(flags.target, environment, {.reads_only = true}));
  const absl::Time begin = absl::Now();
  const absl::StatusOr<uint64_t> points = RunExport(*client, flags, environment);
  TESSERA_RETURN_IF_ERROR(Finish(*client, points.status()));
  const bool to_stdout = !flags.is_raw() && flags.output == "-";
  (to_stdout ? environment.err : environment.out)
      << JsonLine()
             .Text("collection", flags.name)
             .Number("points", *points)
             .Number("seconds", absl::ToDoubleSeconds(absl::Now() - begin))
             .ToString()
      << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddExport(CLI::App& app, Invocation* invocation) {
  CLI::App* command = app.add_subcommand(
      "export",
      "write all points of a collection as JSON lines {\"id\":..,\"vectors\":{..},\"payload\":..} "
      "or as raw files, either of which ingest loads back bit for bit. Points written meanwhile "
      "are among them or not");
  const auto flags = std::make_shared<ExportFlags>();
  AddTargetFlags(*command, &flags->target);
  command->add_option("name", flags->name, "name of the collection")->type_name("NAME")->required();
  command
      ->add_option("--output", flags->output,
                   "file for the JSON lines; - is stdout, and the summary goes to stderr")
      ->type_name("FILE")
      ->capture_default_str();
  command
      ->add_option("--vector", flags->raw.vectors,
                   "file for the vectors of a field, in its type: fbin, f16bin, u8bin or i8bin; "
                   "may be repeated; without FIELD= the default one")
      ->type_name("[FIELD=]FILE")
      ->allow_extra_args(false);
  command->add_option("--ids", flags->raw.ids, "file for the ids, one a line")->type_name("FILE");
  command->add_option("--payload", flags->raw.payload, "file for the payloads, JSONL")
      ->type_name("FILE");
  AddFilterFlags(*command, &flags->filter);
  command->add_flag("--progress", flags->progress,
                    "draw the progress bar even when stderr is no terminal");
  command->callback([flags, invocation] {
    invocation->run = [flags, invocation] { return Export(*flags, invocation->environment); };
  });
}

}  // namespace tessera::api
