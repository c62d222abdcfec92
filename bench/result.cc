#include "bench/result.h"

#include <fstream>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace tessera::bench {
namespace {

using Json = nlohmann::ordered_json;

// Visits every field with its key, for writing and reading alike.
template <typename R, typename Visitor>
void VisitFields(R& result, const Visitor& visit) {
  visit("dataset", result.dataset);
  visit("metric", result.metric);
  visit("type", result.type);
  visit("rows", result.rows);
  visit("dim", result.dim);
  visit("queries", result.queries);
  visit("k", result.k);
  visit("engine", result.engine);
  visit("description", result.description);
  visit("params", result.params);
  visit("cache", result.cache);
  visit("memory_limit", result.memory_limit);
  visit("build_seconds", result.build_seconds);
  visit("build_threads", result.build_threads);
  visit("resident_bytes", result.resident_bytes);
  visit("peak_bytes", result.peak_bytes);
  visit("accounted_bytes", result.accounted_bytes);
  visit("disk_bytes", result.disk_bytes);
  visit("open_seconds", result.open_seconds);
  visit("recall", result.recall);
  visit("qps_1", result.qps_1);
  visit("qps_2", result.qps_2);
  visit("p50_us", result.p50_us);
  visit("p95_us", result.p95_us);
  visit("p99_us", result.p99_us);
  visit("passes", result.passes);
  visit("commit", result.commit);
  visit("cpu", result.cpu);
  visit("time", result.time);
}

}  // namespace

std::string ToJsonLine(const Result& result) {
  Json json = Json::object();
  VisitFields(result, [&](const char* key, const auto& value) { json[key] = value; });
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<Result> ParseJsonLine(std::string_view line) {
  Result result;
  const char* at = "";
  try {
    const Json json = Json::parse(line);
    VisitFields(result, [&](const char* key, auto& value) {
      at = key;
      json.at(key).get_to(value);
    });
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a result line, at \"", at, "\": ", error.what()));
  }
  return result;
}

absl::StatusOr<std::vector<Result>> ReadResults(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot open ", path));
  std::vector<Result> results;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.empty()) continue;
    absl::StatusOr<Result> result = ParseJsonLine(line);
    if (!result.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ":", number, ": ", result.status().message()));
    }
    results.push_back(*std::move(result));
  }
  return results;
}

std::string PointName(const SearchPoint& point) {
  std::string name;
  for (const auto& [parameter, value] : point) {
    absl::StrAppend(&name, name.empty() ? "" : " ", parameter, "=", value);
  }
  return name.empty() ? "defaults" : name;
}

}  // namespace tessera::bench
