// tessera_bench: measures Tessera and its peers, and draws what was measured.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include "base/memory_budget.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "bench/ann.h"
#include "bench/engines/engines.h"
#include "bench/filter/filter_bench.h"
#include "bench/report/markdown.h"
#include "bench/report/report.h"
#include "bench/result.h"
#include "bench/soak/soak.h"

namespace tessera::bench {
namespace {

// The texts of the command line that need parsing of our own.
struct AnnFlags {
  AnnOptions options;
  std::string set;
  std::string name;
  std::string metric = "l2";
  std::string memory_limit;
  std::vector<std::string> points;
  std::string output;
};

// The commit of the working directory, "" outside a repository.
std::string CurrentCommit() {
  FILE* pipe = popen("git describe --always --dirty --abbrev=12 2>/dev/null", "r");
  if (pipe == nullptr) return "";
  char text[64] = {};
  const size_t got = fread(text, 1, sizeof(text) - 1, pipe);
  pclose(pipe);
  std::string commit(text, got);
  while (!commit.empty() && commit.back() == '\n') commit.pop_back();
  return commit;
}

absl::Status ResolveFlags(AnnFlags* flags) {
  AnnOptions& options = flags->options;
  TESSERA_ASSIGN_OR_RETURN(options.metric, base::ParseMetric(flags->metric));
  if (!flags->set.empty()) TESSERA_RETURN_IF_ERROR(FindSet(flags->set, &options));
  if (!flags->name.empty()) options.dataset = flags->name;
  if (options.dataset.empty()) options.dataset = options.base_path;
  if (options.base_path.empty() || options.query_path.empty()) {
    return absl::InvalidArgumentError("name a set with --set DIR, or --base and --queries");
  }
  if (!flags->memory_limit.empty()) {
    TESSERA_ASSIGN_OR_RETURN(options.memory_limit, base::ParseByteSize(flags->memory_limit));
  }
  if (options.engines.empty()) options.engines = EngineNames();
  for (const std::string& text : flags->points) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
    TESSERA_ASSIGN_OR_RETURN(const std::vector<SearchPoint> points, ParsePoints(parts.second));
    std::vector<SearchPoint>& all = options.points[parts.first];
    all.insert(all.end(), points.begin(), points.end());
  }
  if (options.commit.empty()) options.commit = CurrentCommit();
  return absl::OkStatus();
}

absl::Status Ann(AnnFlags flags) {
  TESSERA_RETURN_IF_ERROR(ResolveFlags(&flags));
  std::ofstream file;
  if (!flags.output.empty()) {
    file.open(flags.output, std::ios::app);
    if (!file) return absl::NotFoundError(absl::StrCat("cannot write ", flags.output));
  }
  std::ostream& out = flags.output.empty() ? std::cout : file;
  TESSERA_RETURN_IF_ERROR(RunAnn(
      flags.options,
      [&out](const Result& result) {
        out << ToJsonLine(result) << '\n';
        out.flush();
      },
      [](const std::string& line) { std::cerr << line << '\n'; }));
  if (!out) return absl::ResourceExhaustedError(absl::StrCat("cannot write ", flags.output));
  return absl::OkStatus();
}

void AddAnn(CLI::App& app, AnnFlags* flags) {
  CLI::App* ann = app.add_subcommand("ann", "recall and throughput of engines on one data set");
  AnnOptions& options = flags->options;
  ann->add_option("--set", flags->set, "directory with base.*, query.* and gt100_<metric>.bin");
  ann->add_option("--base", options.base_path, "rows (fbin, f16bin, u8bin, i8bin, fvecs, idx)");
  ann->add_option("--queries", options.query_path, "queries, same layouts");
  ann->add_option("--truth", options.truth_path, "exact neighbours; computed when missing");
  ann->add_option("--name", flags->name, "name of the set in the results");
  ann->add_option("--metric", flags->metric, "cosine, l2 or ip")->capture_default_str();
  ann->add_option("--rows", options.rows_max, "use the first rows only (truth is computed)");
  ann->add_option("--query-count", options.query_max, "use the first queries only");
  ann->add_option("--limit,-k", options.k, "neighbours wanted")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  ann->add_option("--engines", options.engines,
                  absl::StrCat("of ", absl::StrJoin(EngineNames(), ", "), "; all when missing"))
      ->delimiter(',');
  ann->add_option("--point", flags->points,
                  "points to measure instead of an engine's own sweep: hnswlib:ef=16,32 or "
                  "faiss-ivfpqfs:nprobe=8,16;k_factor=4 or tessera:defaults; may be repeated");
  ann->add_option("--memory-limit", flags->memory_limit, "for tessera: 768MiB");
  ann->add_option("--build-threads", options.build_threads)
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  ann->add_option("--threads", options.threads, "thread counts to time")
      ->delimiter(',')
      ->check(CLI::Range(1, 2))
      ->capture_default_str();
  ann->add_option("--passes", options.passes, "timed passes; medians are reported")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  ann->add_option("--pass-seconds", options.pass_seconds, "least duration of a pass")
      ->capture_default_str();
  ann->add_flag("--cold", options.cold, "also the first pass after a cold start");
  ann->add_option("--server-binary", options.server_binary,
                  "the `tessera` that tessera_grpc starts; the one beside this program if missing");
  ann->add_option("--work", options.work_dir, "directory for data directories, removed at the end");
  ann->add_option("--cache", options.cache_dir, "directory where computed truths are kept");
  ann->add_option("--commit", options.commit, "commit in the results; asked of git when missing");
  ann->add_option("--output,-o", flags->output, "file to append JSON lines to; stdout if missing");
}

struct ReportFlags {
  std::vector<std::string> inputs;
  std::string output = "report.html";
  bool markdown = false;
};

absl::Status Report(const ReportFlags& flags) {
  std::vector<Result> results;
  for (const std::string& input : flags.inputs) {
    TESSERA_ASSIGN_OR_RETURN(const std::vector<Result> more, ReadResults(input));
    results.insert(results.end(), more.begin(), more.end());
  }
  if (results.empty()) return absl::InvalidArgumentError("no result lines in the input");
  if (flags.markdown) std::cout << RenderMarkdown(results);
  std::ofstream file(flags.output);
  file << RenderReport(results);
  file.close();
  if (!file) return absl::ResourceExhaustedError(absl::StrCat("cannot write ", flags.output));
  std::cerr << flags.output << ": " << results.size() << " results\n";
  return absl::OkStatus();
}

void AddReport(CLI::App& app, ReportFlags* flags) {
  CLI::App* report = app.add_subcommand("report", "one HTML page from result lines");
  report->add_option("results", flags->inputs, "files of JSON lines written by `ann`")->required();
  report->add_option("--output,-o", flags->output, "page to write")->capture_default_str();
  report->add_flag("--markdown", flags->markdown, "also print a table of what matters most");
}

struct SoakFlags {
  SoakOptions options;
  std::string limit = "256MiB";
};

void AddSoak(CLI::App& app, SoakFlags* flags) {
  CLI::App* soak = app.add_subcommand(
      "soak", "a server's memory and answers under writers with deletes and readers");
  SoakOptions& options = flags->options;
  soak->add_option("--rows", options.rows, "ids that there are")
      ->check(CLI::Range(1000U, 1'000'000'000U))
      ->capture_default_str();
  soak->add_option("--dim", options.dim)->check(CLI::Range(1, 16384))->capture_default_str();
  soak->add_option("--limit", flags->limit, "the server's memory limit")->capture_default_str();
  soak->add_option("--seconds", options.seconds)->capture_default_str();
  soak->add_option("--writers", options.writers)->check(CLI::Range(0, 64))->capture_default_str();
  soak->add_option("--readers", options.readers)->check(CLI::Range(0, 64))->capture_default_str();
  soak->add_option("--loaded", options.loaded, "part of the ids that a bulk load brings before")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  soak->add_option("--seed", options.seed)->capture_default_str();
  soak->add_option("--slack", options.memory_slack, "anonymous memory above the limit, as a part")
      ->capture_default_str();
  soak->add_option("--server-binary", options.server_binary,
                   "the `tessera` that is started; the one beside this program if missing");
  soak->add_option("--work", options.work_dir, "directory for the data, removed at the end")
      ->capture_default_str();
}

// Errors: kAborted when a bar is broken.
absl::Status RunSoakCommand(SoakFlags flags) {
  TESSERA_ASSIGN_OR_RETURN(flags.options.memory_limit, base::ParseByteSize(flags.limit));
  TESSERA_ASSIGN_OR_RETURN(const bool good, RunSoak(flags.options, std::cout));
  return good ? absl::OkStatus() : absl::AbortedError("a bar is broken");
}

struct FilterFlags {
  FilterBenchOptions options;
  std::string metric = "l2";
  std::string memory_limit = "2GiB";
  std::string output;
};

void AddFilter(CLI::App& app, FilterFlags* flags) {
  CLI::App* filter = app.add_subcommand(
      "filter", "searches under filters of every selectivity, with every plan");
  FilterBenchOptions& options = flags->options;
  filter->add_option("--set", options.set, "directory with base.*, query.* and payload.*")
      ->required();
  filter->add_option("--metric", flags->metric, "cosine, l2 or ip")->capture_default_str();
  filter->add_option("--queries", options.queries)->capture_default_str();
  filter->add_option("-k,--limit", options.limits, "neighbours wanted")->capture_default_str();
  filter->add_option("--recall-target", options.recall_target)->capture_default_str();
  filter->add_option("--passes", options.passes)->check(CLI::Range(1, 1000))->capture_default_str();
  filter->add_option("--filter", options.filters, "an expression; may be repeated")
      ->allow_extra_args(false);
  filter->add_flag("--only-these", options.only_these, "no filters but those of --filter");
  filter->add_option("--memory-limit", flags->memory_limit)->capture_default_str();
  filter->add_option("--work", options.work_dir, "directory for the data, removed at the end")
      ->capture_default_str();
  filter->add_option("-o,--output", flags->output, "file to append JSON lines to");
}

absl::Status RunFilterCommand(FilterFlags flags) {
  TESSERA_ASSIGN_OR_RETURN(flags.options.metric, base::ParseMetric(flags.metric));
  TESSERA_ASSIGN_OR_RETURN(flags.options.memory_limit, base::ParseByteSize(flags.memory_limit));
  std::ofstream lines;
  if (!flags.output.empty()) lines.open(flags.output, std::ios::app);
  return RunFilterBench(flags.options, lines, std::cout);
}

int Main(int argc, char** argv) {
  CLI::App app{"Measures Tessera and its peers, and draws what was measured."};
  app.require_subcommand(1);
  AnnFlags ann;
  AddAnn(app, &ann);
  ReportFlags report;
  AddReport(app, &report);
  SoakFlags soak;
  AddSoak(app, &soak);
  FilterFlags filter;
  AddFilter(app, &filter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const absl::Status status = app.got_subcommand("ann")    ? Ann(ann)
                              : app.got_subcommand("soak")   ? RunSoakCommand(soak)
                              : app.got_subcommand("filter") ? RunFilterCommand(filter)
                                                           : Report(report);
  if (status.ok()) return 0;
  std::cerr << "tessera_bench: " << status << '\n';
  return status.code() == absl::StatusCode::kInvalidArgument ? 2 : 1;
}

}  // namespace
}  // namespace tessera::bench

// NOLINTNEXTLINE(bugprone-exception-escape): what escapes ends the run with its message
int main(int argc, char** argv) {
  return tessera::bench::Main(argc, argv);
}
