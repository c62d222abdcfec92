// search: many queries from a file, or the neighbours of one stored point.
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"

#include "api/cli/answers.h"
#include "api/cli/commands.h"
#include "api/cli/json_line.h"
#include "api/cli/output_file.h"
#include "api/cli/search_run.h"
#include "api/cli/target.h"
#include "api/formats/element_convert.h"
#include "api/formats/vector_reader.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::api {
namespace {

struct SearchFlags {
  TargetFlags target;
  std::string name;
  std::string queries;
  std::string format;
  std::string id;
  std::string field;
  uint32_t limit = 10;
  std::optional<double> recall_target;
  uint32_t nprobe = 0;
  bool exact = false;
  std::optional<double> oversampling;
  std::optional<float> score_threshold;
  int threads = 1;
  bool with_payload = false;
  std::string output;
};

absl::Status CheckFlags(const SearchFlags& flags) {
  if (flags.queries.empty() == flags.id.empty()) {
    return UsageError(flags.queries.empty()
                          ? "neither --queries nor --id is given, exactly one is needed"
                          : "both --queries and --id are given, exactly one is needed");
  }
  if (!flags.id.empty() && !flags.output.empty()) {
    return UsageError("--output goes with --queries; the neighbours of --id are printed");
  }
  const int modes = (flags.recall_target.has_value() ? 1 : 0) + (flags.nprobe > 0 ? 1 : 0) +
                    (flags.exact ? 1 : 0);
  if (modes > 1) {
    return UsageError("of --recall-target, --nprobe and --exact at most one is allowed");
  }
  if (flags.recall_target.has_value() && !(*flags.recall_target > 0 && *flags.recall_target < 1)) {
    return UsageError(absl::StrCat("--recall-target is ", *flags.recall_target,
                                   ", must be over 0 and under 1; --exact finds all"));
  }
  if (flags.oversampling.has_value() &&
      !(*flags.oversampling >= 1 && std::isfinite(*flags.oversampling))) {
    return UsageError(
        absl::StrCat("--oversampling is ", *flags.oversampling, ", must be at least 1"));
  }
  if (flags.score_threshold.has_value() && std::isnan(*flags.score_threshold)) {
    return UsageError("--score-threshold is NaN, must be a number");
  }
  return absl::OkStatus();
}

db::SearchParams MakeParams(const SearchFlags& flags) {
  return {.field = flags.field,
          .limit = flags.limit,
          .exact = flags.exact,
          .recall_target = flags.recall_target.value_or(0),
          .nprobe = flags.nprobe,
          .oversampling = flags.oversampling.value_or(0),
          .score_threshold = flags.score_threshold,
          .with = {.payload = flags.with_payload}};
}

absl::StatusOr<QuerySet> ReadQueries(const std::string& path, VectorFormat format) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<VectorReader> reader,
                           OpenVectorFile(path, format));
  QuerySet queries{.dim = reader->dim(), .type = reader->type(), .rows = {}};
  for (;;) {
    TESSERA_ASSIGN_OR_RETURN(const size_t got, reader->Read(65536, &queries.rows));
    if (got == 0) break;
  }
  const size_t at = FirstNotFinite(queries.rows, queries.type);
  if (at < queries.rows.size() / base::ElementBytes(queries.type)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": row ", at / queries.dim, ": component ",
                                                   at % queries.dim,
                                                   " is NaN or infinite, must be finite"));
  }
  return queries;
}

// The searched field: that of --field, else the only one or the default one.
absl::StatusOr<base::VectorFieldSchema> FindField(const base::CollectionSchema& schema,
                                                  const std::string& name) {
  for (const base::VectorFieldSchema& field : schema.vectors) {
    if (field.name == name || (name.empty() && schema.vectors.size() == 1)) return field;
  }
  std::string known;
  for (const base::VectorFieldSchema& field : schema.vectors) {
    absl::StrAppend(&known, known.empty() ? "\"" : ", \"", field.name, "\"");
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "collection ", schema.name, " has no vector field \"", name, "\", it has ", known));
}

absl::Status SearchNear(Client& client, const SearchFlags& flags, const base::PointId& id,
                        const db::SearchParams& params, std::ostream& out) {
  TESSERA_ASSIGN_OR_RETURN(const db::SearchResult result,
                           client.SearchNear(flags.name, id, params));
  for (const db::Hit& hit : result.hits) out << HitJson(hit, flags.with_payload) << "\n";
  return absl::OkStatus();
}

absl::Status SearchFile(Client& client, const SearchFlags& flags, const QuerySet& queries,
                        const db::SearchParams& params, const CliEnvironment& environment) {
  const bool keeps = !flags.output.empty();
  const bool to_stdout = flags.output == "-";
  // A place that cannot be written to is better known before the search than after it.
  std::unique_ptr<OutputFile> output;
  if (keeps && !to_stdout) {
    TESSERA_ASSIGN_OR_RETURN(output, OutputFile::Create(flags.output));
  }
  Answers answers(queries.count(), flags.limit, flags.with_payload);
  const auto keep = [&](size_t query, const std::vector<db::Hit>& hits) {
    if (keeps) answers.Set(query, hits);
  };
  TESSERA_ASSIGN_OR_RETURN(const SearchTimes times,
                           RunQueries(client, flags.name, queries, params, flags.threads, keep));
  JsonLine line;
  line.Number("count", uint64_t{queries.count()}).Number("seconds", times.seconds);
  line.Number("qps", times.seconds > 0 ? static_cast<double>(queries.count()) / times.seconds : 0);
  line.Number("p50_us", Percentile(times.latencies_us, 0.50));
  line.Number("p99_us", Percentile(times.latencies_us, 0.99));
  line.Number("memory_bytes", times.memory_bytes_max);
  if (keeps) {
    TESSERA_RETURN_IF_ERROR(answers.WriteTo([&](std::string_view bytes) {
      if (output != nullptr) return output->Write(bytes);
      environment.out << bytes;
      return absl::OkStatus();
    }));
    if (output != nullptr) TESSERA_RETURN_IF_ERROR(output->Commit());
    const bool binary = answers.layout() == AnswerLayout::kGroundTruth;
    line.Text("output_layout", binary ? "ground_truth" : "jsonl");
  }
  (to_stdout ? environment.err : environment.out) << line.ToString() << "\n";
  return absl::OkStatus();
}

absl::Status RunSearch(Client& client, const SearchFlags& flags, const QuerySet* queries,
                       const base::PointId* id, const CliEnvironment& environment) {
  TESSERA_ASSIGN_OR_RETURN(const db::CollectionStats stats, client.Describe(flags.name));
  TESSERA_ASSIGN_OR_RETURN(const base::VectorFieldSchema field,
                           FindField(stats.schema, flags.field));
  db::SearchParams params = MakeParams(flags);
  params.field = field.name;
  if (id != nullptr) return SearchNear(client, flags, *id, params, environment.out);
  if (queries->dim != field.dim) {
    return absl::InvalidArgumentError(absl::StrCat(flags.queries, ": its rows have dimension ",
                                                   queries->dim, ", the vectors of collection ",
                                                   flags.name, " have ", field.dim));
  }
  return SearchFile(client, flags, *queries, params, environment);
}

absl::Status Search(const SearchFlags& flags, const CliEnvironment& environment) {
  TESSERA_RETURN_IF_ERROR(CheckFlags(flags));
  TESSERA_RETURN_IF_ERROR(CheckTarget(flags.target));
  QuerySet queries;
  base::PointId id;
  if (!flags.queries.empty()) {
    const absl::StatusOr<VectorFormat> format =
        flags.format.empty() ? DetectVectorFormat(flags.queries) : ParseVectorFormat(flags.format);
    if (!format.ok()) return UsageError(base::StdSv(format.status().message()));
    TESSERA_ASSIGN_OR_RETURN(queries, ReadQueries(flags.queries, *format));
  } else {
    absl::StatusOr<base::PointId> parsed = base::PointId::Parse(flags.id);
    if (!parsed.ok()) return UsageError(base::StdSv(parsed.status().message()));
    id = *std::move(parsed);
  }
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           Connect(flags.target, environment, {.reads_only = true}));
  return Finish(*client,
                RunSearch(*client, flags, &queries, flags.id.empty() ? nullptr : &id, environment));
}

}  // namespace

void AddSearch(CLI::App& app, Invocation* invocation) {
  CLI::App* command = app.add_subcommand(
      "search", "search with the vectors of a file and time it, or for the neighbours of a point");
  const auto flags = std::make_shared<SearchFlags>();
  AddTargetFlags(*command, &flags->target);
  command->add_option("name", flags->name, "name of the collection")->type_name("NAME")->required();
  command->add_option("--queries", flags->queries, "query vectors, any format of ingest")
      ->type_name("FILE");
  command->add_option("--format", flags->format, "format of FILE where its name does not tell");
  command->add_option("--id", flags->id, "print the neighbours of this point as JSON lines");
  command->add_option("--field", flags->field, "vector field to search")->type_name("FIELD");
  command->add_option("--limit", flags->limit, "neighbours wanted")
      ->check(CLI::Range(uint32_t{1}, base::kLimitMax))
      ->capture_default_str();
  command->add_option("--recall-target", flags->recall_target,
                      "part of the true neighbours to find; default 0.95");
  command->add_option("--nprobe", flags->nprobe, "lists to visit, instead of a recall target")
      ->check(CLI::Range(uint32_t{1}, uint32_t{0xffffffff}));
  command->add_flag("--exact", flags->exact, "compare with every point");
  command->add_option("--oversampling", flags->oversampling,
                      "candidates compared exactly, as a factor of --limit");
  command->add_option("--score-threshold", flags->score_threshold, "only hits at least this good");
  command->add_option("--threads", flags->threads, "searches in flight")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_flag("--with-payload", flags->with_payload, "payloads too; output is JSON lines");
  command
      ->add_option("--output", flags->output,
                   "file for the answers: ground-truth layout when all ids fit in u32, else "
                   "JSON lines; - is stdout, and the times go to stderr")
      ->type_name("FILE");
  command->callback([flags, invocation] {
    invocation->run = [flags, invocation] { return Search(*flags, invocation->environment); };
  });
}

}  // namespace tessera::api
