// search: many queries from a file, or the neighbours of one stored point.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"

#include "api/cli/answers.h"
#include "api/cli/commands.h"
#include "api/cli/filter/explain_text.h"
#include "api/cli/filter/filter_flags.h"
#include "api/cli/json_line.h"
#include "api/cli/output_file.h"
#include "api/cli/query_file.h"
#include "api/cli/search_run.h"
#include "api/cli/target.h"
#include "api/inputs/input_format.h"
#include "api/score_threshold.h"
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
  FilterFlags filter;
  std::string plan = "auto";
  std::string explain;
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
  if (flags.exact && flags.plan != "auto") {
    return UsageError("--plan is given beside --exact, which is a plan of its own");
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

db::SearchPlan PlanOf(const SearchFlags& flags) {
  if (flags.plan == "exact") return db::SearchPlan::kExact;
  return flags.plan == "probe" ? db::SearchPlan::kProbe : db::SearchPlan::kAuto;
}

absl::StatusOr<db::SearchParams> MakeParams(const SearchFlags& flags) {
  TESSERA_ASSIGN_OR_RETURN(std::optional<db::FilterText> filter, MakeFilter(flags.filter));
  return db::SearchParams{.field = flags.field,
                          .limit = flags.limit,
                          .exact = flags.exact,
                          .recall_target = flags.recall_target.value_or(0),
                          .nprobe = flags.nprobe,
                          .oversampling = flags.oversampling.value_or(0),
                          .score_threshold = flags.score_threshold,
                          .filter = std::move(filter),
                          .plan = PlanOf(flags),
                          .explain = !flags.explain.empty(),
                          .with = {.payload = flags.with_payload}};
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

absl::Status CheckThreshold(const SearchFlags& flags, const base::VectorFieldSchema& field) {
  if (!flags.score_threshold.has_value()) return absl::OkStatus();
  const std::optional<std::string_view> why =
      WhyNothingReaches(field.metric, *flags.score_threshold);
  if (!why.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--score-threshold is ", *flags.score_threshold, ", ", base::Sv(*why)));
}

// A word about answers that a threshold has left empty, all of them.
void ExplainThreshold(const SearchFlags& flags, const base::VectorFieldSchema& field, uint64_t hits,
                      std::ostream& err) {
  if (hits > 0 || !flags.score_threshold.has_value()) return;
  const char* const score = field.metric == base::Metric::kL2 ? "minus the squared distance"
                            : field.metric == base::Metric::kInnerProduct ? "the inner product"
                                                                          : "the cosine";
  err << "tessera: no point has a score of " << *flags.score_threshold << " or more; under "
      << base::ToString(field.metric) << " it is " << score << "\n";
}

absl::Status SearchNear(Client& client, const SearchFlags& flags, const base::PointId& id,
                        const base::VectorFieldSchema& field, const db::SearchParams& params,
                        const CliEnvironment& environment) {
  TESSERA_ASSIGN_OR_RETURN(const db::SearchResult result,
                           client.SearchNear(flags.name, id, params));
  for (const db::Hit& hit : result.hits) {
    environment.out << HitJson(hit, flags.with_payload) << "\n";
  }
  PrintWarnings(result.warnings, environment.err);
  if (result.explain.has_value()) {
    PrintExplain(*result.explain, "search", flags.explain, environment.out);
  }
  ExplainThreshold(flags, field, result.hits.size(), environment.err);
  return absl::OkStatus();
}

// Queries of one portion whose answers take so many bytes each.
size_t PortionRows(const SearchFlags& flags, uint64_t answer_bytes) {
  constexpr uint64_t kPortionAnswerBytes = uint64_t{64} << 20;
  return std::max<uint64_t>(kPortionAnswerBytes / answer_bytes,
                            static_cast<uint64_t>(flags.threads));
}

// Before the first answers are known: payloads can have a megabyte each.
size_t FirstPortionRows(const SearchFlags& flags) {
  if (flags.with_payload && !flags.output.empty()) return static_cast<size_t>(4 * flags.threads);
  return PortionRows(flags, Answers::BytesPerQuery(flags.limit));
}

absl::Status CheckAnswerBytes(const SearchFlags& flags, uint64_t bytes) {
  constexpr uint64_t kAnswerBytesMax = uint64_t{1} << 30;
  if (flags.output.empty() || bytes <= kAnswerBytesMax) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the answers for --output take ", bytes, " bytes or more, at most ",
                   kAnswerBytesMax, " are held; search with fewer queries or a smaller --limit"));
}

class FileSearch {
 public:
  FileSearch(Client& client, const SearchFlags& flags, const CliEnvironment& environment)
      : client_(client),
        flags_(flags),
        environment_(environment),
        portion_rows_(FirstPortionRows(flags)),
        answers_(flags.limit, flags.with_payload) {}

  absl::Status Run(QueryFile& queries, const db::SearchParams& params) {
    // A place that cannot be written to is better known before the search than after it.
    if (!flags_.output.empty() && !to_stdout()) {
      TESSERA_ASSIGN_OR_RETURN(output_, OutputFile::Create(flags_.output));
    }
    QuerySet portion;
    for (;;) {
      const uint64_t first = queries.rows_read();
      TESSERA_RETURN_IF_ERROR(queries.Next(portion_rows_, &portion));
      if (portion.count() == 0) break;
      TESSERA_RETURN_IF_ERROR(RunPortion(first, portion, params));
    }
    return Report(queries.rows_read());
  }

  uint64_t hits() const { return hits_.load(); }

 private:
  bool to_stdout() const { return flags_.output == "-"; }

  absl::Status Write(std::string_view bytes) {
    if (output_ != nullptr) return output_->Write(bytes);
    environment_.out << bytes;
    return absl::OkStatus();
  }

  absl::Status RunPortion(uint64_t first, const QuerySet& portion, const db::SearchParams& params) {
    const bool keeps = !flags_.output.empty();
    if (keeps) answers_.Expect(portion.count());
    const auto keep = [&](size_t query, const db::SearchResult& result) {
      hits_ += result.hits.size();
      if (keeps) answers_.Set(first + query, result.hits);
      // The first query speaks for all.
      if (first + query != 0) return;
      warnings_ = result.warnings;
      explain_ = result.explain;
    };
    TESSERA_ASSIGN_OR_RETURN(SearchTimes times, RunQueries(client_, flags_.name, portion, first,
                                                           params, flags_.threads, keep));
    times_.Add(std::move(times));
    if (!keeps) return absl::OkStatus();
    if (flags_.with_payload) {
      portion_rows_ = PortionRows(flags_, answers_.bytes() / portion.count() + 1);
    }
    TESSERA_RETURN_IF_ERROR(
        answers_.WritePortion([this](std::string_view bytes) { return Write(bytes); }));
    return CheckAnswerBytes(flags_, answers_.bytes());
  }

  absl::Status Report(uint64_t count) {
    times_.Sort();
    JsonLine line;
    line.Number("count", count).Number("seconds", times_.seconds);
    line.Number("qps", times_.seconds > 0 ? static_cast<double>(count) / times_.seconds : 0);
    line.Number("p50_us", Percentile(times_.latencies_us, 0.50));
    line.Number("p99_us", Percentile(times_.latencies_us, 0.99));
    line.Number("memory_bytes", times_.memory_bytes_max);
    if (!flags_.output.empty()) {
      TESSERA_RETURN_IF_ERROR(
          answers_.WriteTo([this](std::string_view bytes) { return Write(bytes); }));
      if (output_ != nullptr) TESSERA_RETURN_IF_ERROR(output_->Commit());
      const bool binary = answers_.layout() == AnswerLayout::kGroundTruth;
      line.Text("output_layout", binary ? "ground_truth" : "jsonl");
    }
    PrintWarnings(warnings_, environment_.err);
    std::ostream& out = to_stdout() ? environment_.err : environment_.out;
    out << line.ToString() << "\n";
    if (explain_.has_value()) PrintExplain(*explain_, "query 0", flags_.explain, out);
    return absl::OkStatus();
  }

  Client& client_;
  const SearchFlags& flags_;
  const CliEnvironment& environment_;
  size_t portion_rows_;
  std::unique_ptr<OutputFile> output_;
  Answers answers_;
  SearchTimes times_;
  std::atomic<uint64_t> hits_{0};
  // Of the first query; set by the thread that has it, read after all have ended.
  std::vector<std::string> warnings_;
  std::optional<db::Explain> explain_;
};

// Where the searched vectors are from: `queries`, else the point `id`.
absl::Status RunSearch(Client& client, const SearchFlags& flags, QueryFile* queries,
                       const base::PointId& id, const CliEnvironment& environment) {
  TESSERA_ASSIGN_OR_RETURN(const db::CollectionStats stats, client.Describe(flags.name));
  TESSERA_ASSIGN_OR_RETURN(const base::VectorFieldSchema field,
                           FindField(stats.schema, flags.field));
  TESSERA_RETURN_IF_ERROR(CheckThreshold(flags, field));
  TESSERA_ASSIGN_OR_RETURN(db::SearchParams params, MakeParams(flags));
  params.field = field.name;
  if (queries == nullptr) return SearchNear(client, flags, id, field, params, environment);
  if (queries->dim() != field.dim) {
    return absl::InvalidArgumentError(absl::StrCat(flags.queries, ": its rows have dimension ",
                                                   queries->dim(), ", the vectors of collection ",
                                                   flags.name, " have ", field.dim));
  }
  TESSERA_ASSIGN_OR_RETURN(const std::optional<uint64_t> count, queries->CheckAll());
  if (!flags.with_payload) {
    TESSERA_RETURN_IF_ERROR(
        CheckAnswerBytes(flags, count.value_or(0) * Answers::BytesPerQuery(flags.limit)));
  }
  FileSearch search(client, flags, environment);
  TESSERA_RETURN_IF_ERROR(search.Run(*queries, params));
  if (queries->rows_read() > 0) {
    ExplainThreshold(flags, field, search.hits(), environment.err);
  }
  return absl::OkStatus();
}

absl::StatusOr<QueryFile> OpenQueries(const SearchFlags& flags) {
  TESSERA_ASSIGN_OR_RETURN(const VectorFormat format,
                           UsageErrorIfInvalid(FindVectorFormat(flags.queries, flags.format)));
  return QueryFile::Open(flags.queries, format);
}

absl::Status Search(const SearchFlags& flags, const CliEnvironment& environment) {
  TESSERA_RETURN_IF_ERROR(CheckFlags(flags));
  TESSERA_RETURN_IF_ERROR(MakeParams(flags).status());
  TESSERA_RETURN_IF_ERROR(CheckTarget(flags.target));
  std::optional<QueryFile> queries;
  base::PointId id;
  if (!flags.queries.empty()) {
    TESSERA_ASSIGN_OR_RETURN(queries, OpenQueries(flags));
  } else {
    TESSERA_ASSIGN_OR_RETURN(id, UsageErrorIfInvalid(base::PointId::Parse(flags.id)));
  }
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           Connect(flags.target, environment, {.reads_only = true}));
  return Finish(*client, RunSearch(*client, flags, queries.has_value() ? &*queries : nullptr, id,
                                   environment));
}

}  // namespace

void AddSearch(CLI::App& app, Invocation* invocation) {
  CLI::App* command = app.add_subcommand(
      "search", "search with the vectors of a file and time it, or for the neighbours of a point");
  const auto flags = std::make_shared<SearchFlags>();
  AddTargetFlags(*command, &flags->target);
  command->add_option("name", flags->name, "name of the collection")->type_name("NAME")->required();
  command
      ->add_option("--queries", flags->queries,
                   "query vectors, any binary format of ingest; 1,000,000 at most")
      ->type_name("FILE");
  command->add_option("--format", flags->format,
                      "format of FILE; default: by its name, else its first bytes");
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
  command->add_option("--score-threshold", flags->score_threshold,
                      "only hits with at least this score: the cosine, the inner product or, under "
                      "l2, minus the squared distance (-4 keeps distances up to 2)");
  AddFilterFlags(*command, &flags->filter);
  command
      ->add_option(
          "--plan", flags->plan,
          "how the points that pass are found: by the planner's choice, by comparing each, "
          "or in the nearest lists")
      ->check(CLI::IsMember({"auto", "exact", "probe"}))
      ->capture_default_str();
  AddExplainFlag(*command, &flags->explain);
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
