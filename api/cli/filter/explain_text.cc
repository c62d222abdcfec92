#include "api/cli/filter/explain_text.h"

#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "api/cli/json_line.h"
#include "base/memory_budget.h"

namespace tessera::api {
namespace {

// A line and those under it.
struct Branch {
  std::string line;
  std::vector<Branch> under;
};

void Draw(const std::vector<Branch>& branches, const std::string& indent, std::string* out) {
  for (size_t i = 0; i < branches.size(); ++i) {
    const bool last = i + 1 == branches.size();
    absl::StrAppend(out, indent, last ? "└─ " : "├─ ", branches[i].line, "\n");
    Draw(branches[i].under, indent + (last ? "   " : "│  "), out);
  }
}

std::string Micros(double microseconds) {
  return absl::StrFormat("%.1f us", microseconds);
}

Branch Prices(const db::Explain& explain) {
  Branch branch{"plans thought of", {}};
  for (const db::PlanPrice& price : explain.prices) {
    branch.under.push_back({absl::StrCat(PlanName(price.plan), ": ", Micros(price.microseconds),
                                         price.chosen ? ", chosen" : ", rejected"),
                            {}});
  }
  return branch;
}

Branch Stages(const db::Explain& explain) {
  Branch branch{"stages", {}};
  for (const db::StageTime& stage : explain.stages) {
    branch.under.push_back({absl::StrCat(stage.stage, ": ", Micros(stage.microseconds)), {}});
  }
  return branch;
}

}  // namespace

const char* PlanName(db::SearchPlan plan) {
  switch (plan) {
    case db::SearchPlan::kExact:
      return "exact";
    case db::SearchPlan::kProbe:
      return "probe";
    case db::SearchPlan::kAuto:
      break;
  }
  return "auto";
}

std::string ExplainTree(const db::Explain& explain, const std::string& title) {
  std::vector<Branch> branches;
  if (!explain.filter.empty()) {
    branches.push_back({absl::StrCat("filter: ", explain.filter,
                                     explain.filter_cached ? " (matches known before)" : ""),
                        {}});
  }
  if (!explain.prices.empty()) branches.push_back(Prices(explain));
  branches.push_back(
      {absl::StrCat("rows: ", explain.estimated_rows, " estimated, ", explain.matching_rows,
                    " matching, ", explain.fresh_rows, " fresh"),
       {}});
  branches.push_back({absl::StrCat("lists: ", explain.lists, " in all, ", explain.lists_eligible,
                                   " eligible, ", explain.lists_probed, " probed"),
                      {}});
  branches.push_back(
      {absl::StrCat("blocks: ", explain.blocks, " of 64 rows, ", explain.blocks_masked, " masked"),
       {}});
  branches.push_back(
      {absl::StrCat("codes: ", explain.codes_scanned, " scanned, ", explain.survivors,
                    " survivors, ", explain.reranked, " reranked"),
       {}});
  branches.push_back(
      {absl::StrCat("read: ", base::FormatByteSize(explain.bytes_read), " from disk"), {}});
  if (!explain.stages.empty()) branches.push_back(Stages(explain));
  branches.push_back({absl::StrFormat("estimated recall: %.4g", explain.estimated_recall), {}});
  std::string out = absl::StrCat(title, ": plan ", PlanName(explain.plan), "\n");
  Draw(branches, "", &out);
  return out;
}

std::string ExplainJson(const db::Explain& explain) {
  std::string prices;
  for (const db::PlanPrice& price : explain.prices) {
    absl::StrAppend(&prices, prices.empty() ? "" : ",",
                    JsonLine()
                        .Text("plan", PlanName(price.plan))
                        .Number("us", price.microseconds)
                        .Bool("chosen", price.chosen)
                        .ToString());
  }
  std::string stages;
  for (const db::StageTime& stage : explain.stages) {
    absl::StrAppend(
        &stages, stages.empty() ? "" : ",",
        JsonLine().Text("stage", stage.stage).Number("us", stage.microseconds).ToString());
  }
  return JsonLine()
      .Text("filter", explain.filter)
      .Text("plan", PlanName(explain.plan))
      .Json("prices", absl::StrCat("[", prices, "]"))
      .Number("estimated_rows", explain.estimated_rows)
      .Number("matching_rows", explain.matching_rows)
      .Number("lists", explain.lists)
      .Number("lists_eligible", explain.lists_eligible)
      .Number("lists_probed", explain.lists_probed)
      .Number("blocks", explain.blocks)
      .Number("blocks_masked", explain.blocks_masked)
      .Number("codes_scanned", explain.codes_scanned)
      .Number("survivors", explain.survivors)
      .Number("reranked", explain.reranked)
      .Number("fresh_rows", explain.fresh_rows)
      .Number("bytes_read", explain.bytes_read)
      .Bool("filter_cached", explain.filter_cached)
      .Number("estimated_recall", explain.estimated_recall)
      .Json("stages", absl::StrCat("[", stages, "]"))
      .ToString();
}

void AddExplainFlag(CLI::App& command, std::string* format) {
  command
      .add_flag("--explain{text}", *format,
                "print what was done, and why, as a tree; --explain=json as JSON")
      ->check(CLI::IsMember({"text", "json"}));
}

void PrintExplain(const db::Explain& explain, const std::string& title, const std::string& format,
                  std::ostream& out) {
  if (format == "json") {
    out << JsonLine().Json("explain", ExplainJson(explain)).ToString() << "\n";
  } else {
    out << ExplainTree(explain, title);
  }
}

}  // namespace tessera::api
