#include "bench/report/report.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "base/memory_budget.h"
#include "bench/curve.h"
#include "bench/report/svg_plot.h"

namespace tessera::bench {
namespace {

constexpr double kTargets[] = {0.90, 0.95, 0.99};

constexpr char kHead[] = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tessera: recall and throughput</title>
<style>
:root { color-scheme: light dark; --page: #fcfcfb; --card: #ffffff; --ink: #1d2026;
  --soft: #5d6470; --grid: #e4e6ea; --edge: #d7dae0;
  --series-0: #2a6fdb; --series-1: #d2660a; --series-2: #12876f; --series-3: #9b3fb5;
  --series-4: #b3323f; --series-5: #6b7280; }
@media (prefers-color-scheme: dark) { :root { --page: #14161a; --card: #1b1e24; --ink: #e9ebef;
  --soft: #a2a9b6; --grid: #2c3038; --edge: #363b45;
  --series-0: #6ea8ff; --series-1: #ff9d4d; --series-2: #3fc9a9; --series-3: #d78cf0;
  --series-4: #ff7d88; --series-5: #a7aebb; } }
body { margin: 0 auto; max-width: 1040px; padding: 32px 20px 64px; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 0 0 2px; }
p { margin: 4px 0 12px; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--edge); border-radius: 10px;
  padding: 20px 22px; margin: 22px 0; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--soft); font-size: 12px; }
.grid { stroke: var(--grid); } .grid.target { stroke: var(--soft); stroke-dasharray: 4 4; }
.line { fill: none; stroke-width: 2; } .point.off { opacity: .45; }
.ring { fill: none; stroke-width: 1.5; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 8px 0 14px; }
.legend span::before { content: ""; display: inline-block; width: 10px; height: 10px;
  border-radius: 3px; margin-right: 7px; background: var(--c); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { padding: 5px 9px; text-align: right; border-bottom: 1px solid var(--grid);
  font-variant-numeric: tabular-nums; white-space: nowrap; }
th { color: var(--soft); font-weight: 500; } th:first-child, td:first-child { text-align: left; }
td.note { white-space: normal; text-align: left; color: var(--soft); min-width: 260px; }
details { margin-top: 14px; } summary { cursor: pointer; color: var(--soft); }
)";

std::string Bytes(uint64_t bytes) {
  return bytes == 0 ? "-" : absl::StrFormat("%.1f MB", static_cast<double>(bytes) / 1e6);
}

std::string Qps(double qps) {
  return qps > 0 ? absl::StrFormat("%.0f", qps) : "-";
}

PlotSeries MakeSeries(const ResultGroup& group, const std::string& engine, int color) {
  PlotSeries series{engine, color, {}};
  std::vector<Result> results = WarmResults(group, engine);
  const std::vector<Result> front = ParetoFront(results);
  std::sort(results.begin(), results.end(),
            [](const Result& a, const Result& b) { return a.recall < b.recall; });
  for (const Result& result : results) {
    if (result.qps_1 <= 0) continue;
    const bool on_line = std::any_of(front.begin(), front.end(), [&](const Result& other) {
      return other.params == result.params;
    });
    series.points.push_back({result.recall, result.qps_1,
                             absl::StrFormat("%s, %s: recall %.4f, %.0f queries a second", engine,
                                             PointName(result.params), result.recall, result.qps_1),
                             on_line, result.params.empty()});
  }
  return series;
}

void AppendSummaryRow(const ResultGroup& group, const std::string& engine, std::string* html) {
  const std::vector<Result> warm = WarmResults(group, engine);
  if (warm.empty()) return;
  const Result& any = warm.back();
  const std::vector<Result> front = ParetoFront(warm);
  absl::StrAppendFormat(html, "<tr><td>%s</td><td>%.1f s</td><td>%s</td><td>%s</td><td>%s</td>",
                        EscapeHtml(engine), any.build_seconds, Bytes(any.resident_bytes),
                        Bytes(any.peak_bytes), Bytes(any.disk_bytes));
  for (const double target : kTargets) {
    absl::StrAppend(html, "<td>", Qps(QpsAtRecall(front, target).value_or(0)), "</td>");
  }
  const auto defaults = std::find_if(warm.begin(), warm.end(),
                                     [](const Result& result) { return result.params.empty(); });
  const std::optional<double> ratio = DefaultsAgainstSweep(warm);
  absl::StrAppend(html, "<td>",
                  defaults == warm.end()
                      ? "-"
                      : absl::StrFormat("%.4f at %.0f", defaults->recall, defaults->qps_1),
                  "</td><td>", ratio.has_value() ? absl::StrFormat("%.2f", *ratio) : "-",
                  "</td><td class=\"note\">", EscapeHtml(any.description), "</td></tr>\n");
}

void AppendAllPoints(const ResultGroup& group, std::string* html) {
  absl::StrAppend(html, "<details><summary>All ", group.results.size(),
                  " measured points</summary><div class=\"scroll\"><table>\n"
                  "<tr><th>engine</th><th>parameters</th><th>cache</th><th>recall</th>"
                  "<th>QPS, 1 thread</th><th>QPS, 2 threads</th><th>p50 us</th><th>p95 us</th>"
                  "<th>p99 us</th><th>passes</th></tr>\n");
  for (const Result& result : group.results) {
    absl::StrAppendFormat(html,
                          "<tr><td>%s</td><td>%s</td><td>%s</td><td>%.4f</td><td>%s</td>"
                          "<td>%s</td><td>%.0f</td><td>%.0f</td><td>%.0f</td><td>%d</td></tr>\n",
                          EscapeHtml(result.engine), EscapeHtml(PointName(result.params)),
                          EscapeHtml(result.cache), result.recall, Qps(result.qps_1),
                          Qps(result.qps_2), result.p50_us, result.p95_us, result.p99_us,
                          result.passes);
  }
  absl::StrAppend(html, "</table></div></details>\n");
}

void AppendGroup(const ResultGroup& group, const std::map<std::string, int>& colors,
                 std::string* html) {
  const Result& first = group.results.front();
  absl::StrAppend(html, "<section><h2>", EscapeHtml(group.dataset), "</h2>\n<p>", first.rows, " x ",
                  first.dim, " ", EscapeHtml(first.type), ", ", EscapeHtml(first.metric), ", ",
                  first.queries, " queries, recall@", first.k);
  if (first.memory_limit != 0) {
    absl::StrAppend(html, ", memory limit ", base::FormatByteSize(first.memory_limit));
  }
  absl::StrAppend(html, "; ", EscapeHtml(first.cpu), ", commit ", EscapeHtml(first.commit), ", ",
                  EscapeHtml(first.time), "</p>\n");
  std::vector<PlotSeries> series;
  series.reserve(group.engines.size());
  for (const std::string& engine : group.engines) {
    series.push_back(MakeSeries(group, engine, colors.at(engine)));
  }
  absl::StrAppend(html, RecallPlot("Recall and throughput on " + group.dataset, series),
                  "<div class=\"legend\">");
  for (const PlotSeries& one : series) {
    absl::StrAppend(html, "<span style=\"--c:var(--series-", one.color, ")\">",
                    EscapeHtml(one.name), "</span>");
  }
  absl::StrAppend(html,
                  "</div>\n<div class=\"scroll\"><table>\n<tr><th>engine</th><th>build</th>"
                  "<th>resident</th><th>peak</th><th>on disk</th>");
  for (const double target : kTargets) {
    absl::StrAppendFormat(html, "<th>QPS at recall %.2f</th>", target);
  }
  absl::StrAppend(html, "<th>defaults: recall, QPS</th><th>over the sweep</th><th></th></tr>\n");
  for (const std::string& engine : group.engines) AppendSummaryRow(group, engine, html);
  absl::StrAppend(html, "</table></div>\n");
  AppendAllPoints(group, html);
  absl::StrAppend(html, "</section>\n");
}

}  // namespace

std::string RenderReport(const std::vector<Result>& results) {
  const std::vector<ResultGroup> groups = GroupResults(results);
  std::map<std::string, int> colors;  // an engine keeps its colour over all plots
  std::string html = kHead;
  for (const ResultGroup& group : groups) {
    for (const std::string& engine : group.engines) {
      colors.try_emplace(engine, static_cast<int>(colors.size()) % kPlotColors);
    }
  }
  for (int i = 0; i < kPlotColors; ++i) {
    absl::StrAppendFormat(&html,
                          ".s%d .line, .s%d .ring { stroke: var(--series-%d); } "
                          ".s%d .point > :not(.ring) { fill: var(--series-%d); }\n",
                          i, i, i, i, i);
  }
  absl::StrAppend(
      &html,
      "</style></head><body>\n<h1>Recall and throughput</h1>\n"
      "<p>Every query by itself on one thread, external ids in the reply, medians of "
      "alternating passes. Up and to the right is better; the dashed line is recall "
      "0.95, a ring marks an engine's defaults, faint points are beaten by others of "
      "the same engine. \"Over the sweep\": QPS of the defaults over what other settings "
      "of the engine reach at the same recall.</p>\n");
  for (const ResultGroup& group : groups) AppendGroup(group, colors, &html);
  absl::StrAppend(&html, "</body></html>\n");
  return html;
}

}  // namespace tessera::bench
