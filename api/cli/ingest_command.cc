// ingest: points from files or stdin into a collection.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "api/cli/commands.h"
#include "api/cli/json_line.h"
#include "api/cli/progress_bar.h"
#include "api/cli/target.h"
#include "api/inputs/input_format.h"
#include "api/inputs/point_source.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::api {
namespace {

struct IngestFlags {
  TargetFlags target;
  std::string name;
  std::string file;
  std::string format;
  std::string field;
  std::vector<std::string> vectors;  // FIELD=FILE
  std::string payload;
  std::string payload_format;
  std::string ids;
  std::string id_field;
  std::string on_error = "stop";
  std::string mode = "auto";
  size_t batch = PointSourceOptions().batch_rows_max;
  int threads = 0;
  bool progress = false;
};

absl::Status CheckFlags(const IngestFlags& flags) {
  if (!flags.ids.empty() && !flags.id_field.empty()) {
    return UsageError("both --ids and --id-field are given, at most one is allowed");
  }
  if (!flags.id_field.empty() && flags.payload.empty() && !IsPointLines(flags.file, flags.format)) {
    return UsageError("--id-field names a key of the payload, so --payload is needed");
  }
  size_t from_stdin = 0;
  for (const std::string& path : {flags.file, flags.payload, flags.ids}) {
    if (path == "-") ++from_stdin;
  }
  for (const std::string& text : flags.vectors) {
    if (text.find('=') == std::string::npos) {
      return UsageError(absl::StrCat("--vector is \"", text, "\", must be FIELD=FILE"));
    }
    if (text.ends_with("=-")) ++from_stdin;
  }
  if (from_stdin > 1) {
    return UsageError(absl::StrCat(from_stdin, " inputs are \"-\", stdin can be only one of them"));
  }
  return absl::OkStatus();
}

// False for stdin and pipes, which give their bytes once.
bool CanReadTwice(const PointSourceOptions& options) {
  std::vector<std::string> paths = {options.points_path, options.payload_path, options.ids_path};
  for (const VectorInput& input : options.vectors) paths.push_back(input.path);
  std::error_code ignored;
  return std::all_of(paths.begin(), paths.end(), [&](const std::string& path) {
    return path.empty() || std::filesystem::is_regular_file(path, ignored);
  });
}

// A format must be told where name and first bytes do not.
absl::StatusOr<std::optional<VectorFormat>> ResolveFormat(const std::string& path,
                                                          const std::string& format) {
  TESSERA_ASSIGN_OR_RETURN(const VectorFormat found,
                           UsageErrorIfInvalid(FindVectorFormat(path, format)));
  return std::optional<VectorFormat>(found);
}

absl::Status TakeFile(const IngestFlags& flags, PointSourceOptions* options) {
  if (IsPointLines(flags.file, flags.format)) {
    if (!flags.vectors.empty() || !flags.payload.empty() || !flags.ids.empty()) {
      return UsageError(
          absl::StrCat(flags.file,
                       " is JSON lines of whole points, so --vector, --payload and --ids have no "
                       "place beside it"));
    }
    options->points_path = flags.file;
    options->points_field = flags.field;
    return absl::OkStatus();
  }
  VectorInput& main = options->vectors.emplace_back();
  main.field = flags.field;
  main.path = flags.file;
  TESSERA_ASSIGN_OR_RETURN(main.format, ResolveFormat(flags.file, flags.format));
  return absl::OkStatus();
}

absl::StatusOr<PointSourceOptions> MakeSourceOptions(const IngestFlags& flags) {
  PointSourceOptions options;
  TESSERA_RETURN_IF_ERROR(TakeFile(flags, &options));
  for (const std::string& text : flags.vectors) {
    const size_t equals = text.find('=');
    VectorInput& input = options.vectors.emplace_back();
    input.field = text.substr(0, equals);
    input.path = text.substr(equals + 1);
    TESSERA_ASSIGN_OR_RETURN(input.format, ResolveFormat(input.path, ""));
  }
  options.payload_path = flags.payload;
  if (!flags.payload.empty()) {
    TESSERA_ASSIGN_OR_RETURN(options.payload_format, UsageErrorIfInvalid(FindPayloadFormat(
                                                         flags.payload, flags.payload_format)));
  }
  options.ids_path = flags.ids;
  options.id_field = flags.id_field;
  options.skip_bad_rows = flags.on_error == "skip";
  options.batch_rows_max = flags.batch;
  return options;
}

IngestMode ParseMode(const std::string& text) {
  if (text == "bulk") return IngestMode::kBulk;
  return text == "upsert" ? IngestMode::kUpsert : IngestMode::kAuto;
}

// A collection with one vector field needs no --field.
void ResolveField(const base::CollectionSchema& schema, PointSourceOptions* options) {
  std::string& field =
      options->vectors.empty() ? options->points_field : options->vectors.front().field;
  if (field.empty() && schema.vectors.size() == 1) field = schema.vectors.front().name;
}

std::string FieldNames(const base::CollectionSchema& schema) {
  std::string names;
  for (const base::VectorFieldSchema& field : schema.vectors) {
    absl::StrAppend(&names, names.empty() ? "\"" : ", \"", field.name, "\"");
  }
  return names;
}

absl::Status CheckFields(const base::CollectionSchema& schema, const PointSourceOptions& options) {
  for (size_t i = 0; i < options.vectors.size(); ++i) {
    const std::string& name = options.vectors[i].field;
    bool known = false;
    for (const base::VectorFieldSchema& field : schema.vectors) known |= field.name == name;
    bool repeated = false;
    for (size_t j = 0; j < i; ++j) repeated |= options.vectors[j].field == name;
    if (!known) {
      return absl::InvalidArgumentError(absl::StrCat("collection ", schema.name,
                                                     " has no vector field \"", name, "\", it has ",
                                                     FieldNames(schema)));
    }
    if (repeated) {
      return absl::InvalidArgumentError(absl::StrCat(
          "collection ", schema.name, " gets vector field \"", name, "\" from two files"));
    }
  }
  return absl::OkStatus();
}

absl::Status Interrupted(const std::string& stored) {
  return absl::CancelledError(absl::StrCat("interrupted (", stored, " rows stored)"));
}

std::shared_ptr<std::atomic<bool>> WatchForInterrupt(const CliEnvironment& environment) {
  return environment.watch_for_interrupt == nullptr ? nullptr : environment.watch_for_interrupt();
}

// Reads all of the input without storing any of it.
absl::Status DryRun(const base::CollectionSchema& schema, PointSourceOptions options,
                    const std::atomic<bool>* interrupted, ProgressBar* bar) {
  options.on_bad_row = nullptr;
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<FilePointSource> source,
                           FilePointSource::Open(schema, std::move(options)));
  std::vector<db::Point> batch;
  do {
    if (interrupted != nullptr && interrupted->load()) return Interrupted("0");
    TESSERA_RETURN_IF_ERROR(source->Next(&batch));
    bar->Update("check", source->rows_read(), source->rows().value_or(0));
  } while (!batch.empty());
  return absl::OkStatus();
}

struct IngestReport {
  IngestSummary summary;
  uint64_t skipped = 0;
};

absl::StatusOr<IngestReport> RunIngest(Client& client, const IngestFlags& flags,
                                       const CliEnvironment& environment,
                                       PointSourceOptions options, ProgressBar* bar) {
  TESSERA_ASSIGN_OR_RETURN(const db::CollectionStats stats, client.Describe(flags.name));
  ResolveField(stats.schema, &options);
  TESSERA_RETURN_IF_ERROR(CheckFields(stats.schema, options));
  options.on_bad_row = [bar](const std::string& row) { bar->Note("tessera: skipped " + row); };
  IngestOptions ingest;
  ingest.mode = ParseMode(flags.mode);
  ingest.threads = flags.threads;
  const bool upserts =
      ingest.mode == IngestMode::kUpsert || (ingest.mode == IngestMode::kAuto && stats.points > 0);
  // Upserts stay, a bulk load does not: what can be read twice is looked through before the first.
  std::shared_ptr<std::atomic<bool>> interrupted;
  if (CanReadTwice(options)) {
    interrupted = WatchForInterrupt(environment);
    if (upserts) TESSERA_RETURN_IF_ERROR(DryRun(stats.schema, options, interrupted.get(), bar));
  }
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<FilePointSource> source,
                           FilePointSource::Open(stats.schema, std::move(options)));
  // Not before: opening a pipe waits for its other end, which a signal shall end at once.
  if (interrupted == nullptr) interrupted = WatchForInterrupt(environment);
  ingest.cancelled = interrupted.get();
  const std::optional<uint64_t> rows = source->rows();
  uint64_t stored = 0;
  ingest.progress = [&](const IngestProgress& progress) {
    stored = progress.stored;
    if (!progress.bulk || progress.phase_total == 0) {
      bar->Update(progress.bulk ? "read" : "store",
                  progress.bulk ? progress.received : progress.stored, rows.value_or(0));
    } else {
      bar->Update(progress.phase, progress.phase_done, progress.phase_total);
    }
  };
  const absl::StatusOr<IngestSummary> summary = client.Ingest(
      flags.name, [&](std::vector<db::Point>* batch) { return source->Next(batch); }, ingest);
  if (!summary.ok() && interrupted != nullptr && interrupted->load()) {
    // A server may have stored more than it could tell.
    return Interrupted(absl::StrCat(flags.target.server.empty() ? "" : "at least ", stored));
  }
  if (!summary.ok()) {
    return absl::Status(summary.status().code(),
                        absl::StrCat(summary.status().message(), " (", stored, " rows stored)"));
  }
  return IngestReport{.summary = *summary, .skipped = source->rows_skipped()};
}

absl::Status Ingest(const IngestFlags& flags, const CliEnvironment& environment) {
  TESSERA_RETURN_IF_ERROR(CheckFlags(flags));
  TESSERA_ASSIGN_OR_RETURN(PointSourceOptions options, MakeSourceOptions(flags));
  TESSERA_ASSIGN_OR_RETURN(
      const std::unique_ptr<Client> client,
      Connect(flags.target, environment, {.background_absorb = true, .threads = flags.threads}));
  const absl::Time begin = absl::Now();
  absl::StatusOr<IngestReport> report;
  {
    ProgressBar bar(environment.err, flags.progress || environment.err_is_terminal);
    report = RunIngest(*client, flags, environment, std::move(options), &bar);
  }
  TESSERA_RETURN_IF_ERROR(Finish(*client, report.status()));
  environment.out << JsonLine()
                         .Text("collection", flags.name)
                         .Number("rows", report->summary.stored)
                         .Number("skipped", report->skipped)
                         .Number("replaced", report->summary.replaced)
                         .Number("seconds", absl::ToDoubleSeconds(absl::Now() - begin))
                         .Bool("bulk", report->summary.bulk)
                         .ToString()
                  << "\n";
  return absl::OkStatus();
}

void AddInputFlags(CLI::App& command, IngestFlags* flags) {
  command.add_option("name", flags->name, "name of the collection")->type_name("NAME")->required();
  command
      .add_option("file", flags->file,
                  "vectors: fbin, f16bin, u8bin, i8bin, fvecs, bvecs or idx; or whole points as "
                  "JSON lines: \"id\", \"vector\" (or \"embedding\", or \"vectors\" with an array "
                  "for each field) and \"payload\", without which all other keys are the payload. "
                  "Also gzipped; - is stdin")
      ->type_name("FILE")
      ->required();
  command.add_option(
      "--format", flags->format,
      "format of FILE, jsonl for points; default: by its name, else its first bytes");
  command.add_option("--field", flags->field, "vector field of FILE")->type_name("FIELD");
  command.add_option("--vector", flags->vectors, "file of another vector field; may be repeated")
      ->type_name("FIELD=FILE")
      ->allow_extra_args(false);
  command.add_option("--payload", flags->payload, "CSV or JSONL, row by row beside the vectors")
      ->type_name("FILE");
  command.add_option("--payload-format", flags->payload_format, "csv or jsonl");
  command.add_option("--ids", flags->ids, "one id a line; default: row numbers from 0")
      ->type_name("FILE");
  command
      .add_option("--id-field", flags->id_field,
                  "key of the payload that holds the id. One text is one id: 7, a number in JSON, "
                  "is the number 7 everywhere; \"7\" in JSON lines is refused, all of CSV is text")
      ->type_name("KEY");
}

}  // namespace

void AddIngest(CLI::App& app, Invocation* invocation) {
  CLI::App* command = app.add_subcommand(
      "ingest",
      "load vectors with payload into a collection: an empty one gets all or nothing. Of an id "
      "that "
      "comes more than once the last row stays; \"replaced\" counts rows that took the place of an "
      "earlier one, of the input or the collection");
  const auto flags = std::make_shared<IngestFlags>();
  AddTargetFlags(*command, &flags->target);
  AddInputFlags(*command, flags.get());
  command->add_option("--on-error", flags->on_error, "what a bad row does: skip or stop")
      ->check(CLI::IsMember({"skip", "stop"}))
      ->capture_default_str();
  command
      ->add_option("--mode", flags->mode, "bulk (all or nothing), upsert, or auto: bulk when empty")
      ->check(CLI::IsMember({"auto", "bulk", "upsert"}))
      ->capture_default_str();
  command->add_option("--batch", flags->batch, "most rows of one batch")
      ->check(CLI::Range(size_t{1}, db::kBatchPointsMax))
      ->capture_default_str();
  command->add_option("--threads", flags->threads, "threads of a bulk load; default: one per core")
      ->check(CLI::Range(1, 1024));
  command->add_flag("--progress", flags->progress,
                    "draw the progress bar even when stderr is no terminal");
  command->callback([flags, invocation] {
    invocation->run = [flags, invocation] { return Ingest(*flags, invocation->environment); };
  });
}

}  // namespace tessera::api
