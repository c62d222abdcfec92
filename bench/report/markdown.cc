#include "bench/report/markdown.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "bench/curve.h"

namespace tessera::bench {
namespace {

constexpr char kBaseline[] = "hnswlib";
constexpr double kTarget = 0.95;

std::string Megabytes(uint64_t bytes) {
  return bytes == 0 ? "-" : absl::StrFormat("%.0f", static_cast<double>(bytes) / 1e6);
}

std::string Number(const char* format, std::optional<double> value) {
  if (!value.has_value() || *value <= 0) return "-";
  return absl::StrFormat(*absl::ParsedFormat<'f'>::New(format), *value);
}

std::optional<double> QpsAtTarget(const ResultGroup& group, const std::string& engine,
                                  double Result::* qps) {
  return QpsAtRecall(ParetoFront(WarmResults(group, engine), qps), kTarget, qps);
}

const Result* FindDefaults(const ResultGroup& group, const std::string& engine,
                           const std::string& cache) {
  for (const Result& result : group.results) {
    if (result.engine == engine && result.cache == cache && result.params.empty()) return &result;
  }
  return nullptr;
}

void AppendRow(const ResultGroup& group, const std::string& engine, std::string* table) {
  const std::vector<Result> warm = WarmResults(group, engine);
  if (warm.empty()) return;
  const Result& any = warm.back();
  const std::optional<double> qps = QpsAtTarget(group, engine, &Result::qps_1);
  const std::optional<double> baseline = QpsAtTarget(group, kBaseline, &Result::qps_1);
  std::optional<double> times;
  if (qps.has_value() && baseline.has_value()) times = *qps / *baseline;
  absl::StrAppend(table, "| ", group.dataset, " | ", engine, " | ",
                  absl::StrFormat("%.1f", any.build_seconds), " | ", Megabytes(any.resident_bytes),
                  " / ", Megabytes(any.peak_bytes), " | ", Megabytes(any.disk_bytes), " | ",
                  Number("%.0f", qps), " | ",
                  Number("%.0f", QpsAtTarget(group, engine, &Result::qps_2)), " | ",
                  Number("%.1f", times), " | ");
  const Result* defaults = FindDefaults(group, engine, "warm");
  const Result* cold = FindDefaults(group, engine, "cold");
  if (defaults == nullptr) {
    absl::StrAppend(table, "- | - | - | - |");
  } else {
    absl::StrAppend(
        table, absl::StrFormat("%.4f", defaults->recall), " | ", Number("%.0f", defaults->qps_1),
        " | ",
        absl::StrFormat("%.0f / %.0f / %.0f", defaults->p50_us, defaults->p95_us, defaults->p99_us),
        " | ", Number("%.2f", DefaultsAgainstSweep(warm)), " |");
  }
  if (cold == nullptr) {
    absl::StrAppend(table, " - | - |\n");
  } else {
    absl::StrAppend(table, absl::StrFormat(" %.0f / %.0f | %.3f |\n", cold->p50_us, cold->p99_us,
                                           cold->open_seconds));
  }
}

}  // namespace

std::string RenderMarkdown(const std::vector<Result>& results) {
  std::string table =
      "| set | engine | build s | resident / peak MB | disk MB | QPS at .95, 1 thread | "
      "2 threads | x hnswlib | defaults: recall | QPS | p50 / p95 / p99 us | over the sweep | "
      "cold p50 / p99 us | open s |\n"
      "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";
  for (const ResultGroup& group : GroupResults(results)) {
    for (const std::string& engine : group.engines) AppendRow(group, engine, &table);
  }
  return table;
}

}  // namespace tessera::bench
