#include "bench/ann.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>
#include <utility>

#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "bench/engines/engines.h"
#include "bench/ground_truth.h"
#include "bench/measure.h"
#include "bench/recall.h"
#include "bench/worker.h"

namespace tessera::bench {
namespace {

// A directory that goes with its owner.
class WorkDirectory {
 public:
  explicit WorkDirectory(std::string path) : path_(std::move(path)) {}
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;
  ~WorkDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

absl::StatusOr<std::unique_ptr<WorkDirectory>> MakeWorkDirectory(const std::string& parent) {
  std::string pattern =
      (parent.empty() ? std::filesystem::temp_directory_path().string() : parent) +
      "/tessera_bench_XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) {
    return absl::NotFoundError(absl::StrCat("cannot make a directory in ", parent));
  }
  return std::make_unique<WorkDirectory>(pattern);
}

// One point of one engine, with what its passes gave.
struct Measured {
  SearchPoint point;
  double recall = 0;
  PassReport cold;
  double open_seconds = 0;
  std::map<int, std::vector<PassReport>> passes;  // by threads
};

struct Contestant {
  std::string name;
  std::unique_ptr<Worker> worker;
  BuildReport build;
  MemoryReport memory;
  std::vector<Measured> points;
};

class AnnRun {
 public:
  AnnRun(const AnnOptions& options, const std::function<void(const std::string&)>& note)
      : options_(options), note_(note) {}

  absl::Status Run(const std::function<void(const Result&)>& sink);

 private:
  absl::Status OpenData();
  absl::Status StartWorkers();
  absl::Status LoadTruth();
  absl::Status BuildAll();
  absl::StatusOr<double> Recall(Contestant& contestant, const SearchPoint& point);
  absl::Status MeasureRecallAndCold(Contestant& contestant);
  absl::Status MeasureRounds();
  Result Describe(const Contestant& contestant, const Measured& measured) const;

  const AnnOptions& options_;
  const std::function<void(const std::string&)>& note_;
  std::unique_ptr<WorkDirectory> directory_;
  std::unique_ptr<VectorFile> base_;
  std::unique_ptr<VectorFile> query_file_;
  std::vector<float> queries_;
  GroundTruth truth_;
  std::vector<Contestant> contestants_;
};

absl::Status AnnRun::OpenData() {
  TESSERA_ASSIGN_OR_RETURN(base_, VectorFile::Open(options_.base_path, options_.rows_max));
  TESSERA_ASSIGN_OR_RETURN(query_file_, VectorFile::Open(options_.query_path, options_.query_max));
  if (base_->dim() != query_file_->dim() || base_->rows() == 0 || query_file_->rows() == 0) {
    return absl::InvalidArgumentError(absl::StrCat(options_.base_path, " is ", base_->rows(), " x ",
                                                   base_->dim(), " and ", options_.query_path, " ",
                                                   query_file_->rows(), " x ", query_file_->dim(),
                                                   ": both need rows of one dimension"));
  }
  TESSERA_ASSIGN_OR_RETURN(queries_, ReadAllFloats(*query_file_));
  TESSERA_ASSIGN_OR_RETURN(directory_, MakeWorkDirectory(options_.work_dir));
  return absl::OkStatus();
}

absl::Status AnnRun::StartWorkers() {
  for (const std::string& name : options_.engines) {
    EngineOptions engine_options;
    engine_options.metric = options_.metric;
    engine_options.k = options_.k;
    engine_options.build_threads = options_.build_threads;
    engine_options.memory_limit = options_.memory_limit;
    engine_options.server_binary = options_.server_binary;
    engine_options.work_dir = absl::StrCat(directory_->path(), "/", name);
    std::filesystem::create_directory(engine_options.work_dir);
    if (NewEngine(name, engine_options) == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("no engine named ", name));
    }
    Contestant& contestant = contestants_.emplace_back();
    contestant.name = name;
    TESSERA_ASSIGN_OR_RETURN(
        contestant.worker,
        Worker::Start([&] { return NewEngine(name, engine_options); }, *base_, queries_));
  }
  return absl::OkStatus();
}

absl::Status AnnRun::LoadTruth() {
  if (!options_.truth_path.empty() && options_.rows_max == 0) {
    TESSERA_ASSIGN_OR_RETURN(truth_, ReadGroundTruth(options_.truth_path));
    if (truth_.queries < query_file_->rows() || truth_.k < options_.k) {
      return absl::InvalidArgumentError(
          absl::StrCat(options_.truth_path, " has ", truth_.k, " neighbours of ", truth_.queries,
                       " queries, needed are ", options_.k, " of ", query_file_->rows()));
    }
    return absl::OkStatus();
  }
  note_("exact truth: by brute force, unless cached");
  const uint32_t depth = std::max<uint32_t>(100, options_.k);
  TESSERA_ASSIGN_OR_RETURN(
      truth_, CachedGroundTruth(*base_, *query_file_, options_.metric, depth, options_.cache_dir));
  return absl::OkStatus();
}

absl::Status AnnRun::BuildAll() {
  for (Contestant& contestant : contestants_) {
    note_(absl::StrCat(contestant.name, ": building"));
    TESSERA_ASSIGN_OR_RETURN(contestant.build, contestant.worker->Build());
    note_(absl::StrFormat("%s: built in %.1f s, %.1f MB resident, %.1f MB on disk", contestant.name,
                          contestant.build.seconds,
                          static_cast<double>(contestant.build.resident_bytes) / 1e6,
                          static_cast<double>(contestant.build.disk_bytes) / 1e6));
    const auto chosen = options_.points.find(contestant.name);
    for (const SearchPoint& point :
         chosen != options_.points.end() ? chosen->second : contestant.build.default_sweep) {
      contestant.points.emplace_back().point = point;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<double> AnnRun::Recall(Contestant& contestant, const SearchPoint& point) {
  TESSERA_ASSIGN_OR_RETURN(const auto answers, contestant.worker->Answers(point));
  std::vector<float> row(base_->dim());
  const auto lookup = [&](uint32_t query, uint64_t id) -> absl::StatusOr<double> {
    TESSERA_RETURN_IF_ERROR(base_->ReadFloats(id, 1, row.data()));
    return ExactDistance(options_.metric, &queries_[size_t{query} * base_->dim()], row.data(),
                         base_->dim());
  };
  return RecallAtK(truth_, static_cast<uint32_t>(std::min<uint64_t>(options_.k, base_->rows())),
                   answers, lookup);
}

absl::Status AnnRun::MeasureRecallAndCold(Contestant& contestant) {
  for (Measured& measured : contestant.points) {
    if (options_.cold) {
      const absl::StatusOr<double> cold = contestant.worker->MakeCold();
      if (cold.ok()) {
        measured.open_seconds = *cold;
        TESSERA_ASSIGN_OR_RETURN(
            measured.cold, contestant.worker->Measure(
                               {.point = measured.point, .seconds_min = 0, .warmup_seconds = 0}));
      } else if (cold.status().code() != absl::StatusCode::kUnimplemented) {
        return cold.status();
      }
    }
    TESSERA_ASSIGN_OR_RETURN(measured.recall, Recall(contestant, measured.point));
    note_(absl::StrFormat("%s %s: recall %.4f", contestant.name, PointName(measured.point),
                          measured.recall));
  }
  return absl::OkStatus();
}

absl::Status AnnRun::MeasureRounds() {
  size_t longest = 0;
  for (const Contestant& contestant : contestants_) {
    longest = std::max(longest, contestant.points.size());
  }
  for (int pass = 0; pass < options_.passes; ++pass) {
    note_(absl::StrCat("timing, round ", pass + 1, " of ", options_.passes));
    for (size_t at = 0; at < longest; ++at) {
      for (Contestant& contestant : contestants_) {
        if (at >= contestant.points.size()) continue;
        Measured& measured = contestant.points[at];
        for (const int threads : options_.threads) {
          TESSERA_ASSIGN_OR_RETURN(
              const PassReport report,
              contestant.worker->Measure({.point = measured.point,
                                          .threads = threads,
                                          .seconds_min = options_.pass_seconds}));
          measured.passes[threads].push_back(report);
        }
      }
    }
  }
  for (Contestant& contestant : contestants_) {
    TESSERA_ASSIGN_OR_RETURN(contestant.memory, contestant.worker->Memory());
  }
  return absl::OkStatus();
}

double MedianOf(const std::map<int, std::vector<PassReport>>& passes, int threads,
                double PassReport::* field) {
  const auto found = passes.find(threads);
  if (found == passes.end()) return 0;
  std::vector<double> values;
  for (const PassReport& pass : found->second) values.push_back(pass.*field);
  return Median(std::move(values));
}

Result AnnRun::Describe(const Contestant& contestant, const Measured& measured) const {
  Result result;
  result.dataset = options_.dataset;
  result.metric = base::ToString(options_.metric);
  result.type = base::ToString(base_->type());
  result.rows = base_->rows();
  result.dim = base_->dim();
  result.queries = static_cast<uint32_t>(query_file_->rows());
  result.k = options_.k;
  result.engine = contestant.name;
  result.description = contestant.build.description;
  result.params = measured.point;
  result.cache = "warm";
  result.memory_limit = options_.memory_limit;
  result.build_seconds = contestant.build.seconds;
  result.build_threads = options_.build_threads;
  result.resident_bytes = contestant.memory.resident_bytes;
  result.peak_bytes = contestant.memory.peak_bytes;
  result.accounted_bytes = contestant.memory.accounted_bytes;
  result.disk_bytes = contestant.build.disk_bytes;
  result.open_seconds = measured.open_seconds;
  result.recall = measured.recall;
  result.qps_1 = MedianOf(measured.passes, 1, &PassReport::qps);
  result.qps_2 = MedianOf(measured.passes, 2, &PassReport::qps);
  result.p50_us = MedianOf(measured.passes, 1, &PassReport::p50_us);
  result.p95_us = MedianOf(measured.passes, 1, &PassReport::p95_us);
  result.p99_us = MedianOf(measured.passes, 1, &PassReport::p99_us);
  result.passes = options_.passes;
  result.commit = options_.commit;
  result.cpu = CpuName();
  result.time = absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(), absl::UTCTimeZone());
  return result;
}

absl::Status AnnRun::Run(const std::function<void(const Result&)>& sink) {
  TESSERA_RETURN_IF_ERROR(OpenData());
  TESSERA_RETURN_IF_ERROR(StartWorkers());  // before anything here has threads
  TESSERA_RETURN_IF_ERROR(LoadTruth());
  TESSERA_RETURN_IF_ERROR(BuildAll());
  for (Contestant& contestant : contestants_) {
    TESSERA_RETURN_IF_ERROR(MeasureRecallAndCold(contestant));
  }
  TESSERA_RETURN_IF_ERROR(MeasureRounds());
  for (const Contestant& contestant : contestants_) {
    for (const Measured& measured : contestant.points) {
      Result result = Describe(contestant, measured);
      sink(result);
      if (measured.cold.qps == 0) continue;
      result.cache = "cold";
      result.passes = 1;
      result.qps_1 = measured.cold.qps;
      result.qps_2 = 0;
      result.p50_us = measured.cold.p50_us;
      result.p95_us = measured.cold.p95_us;
      result.p99_us = measured.cold.p99_us;
      sink(result);
    }
  }
  return absl::OkStatus();
}

// Whether a file is the `part` of a set: part.*, NAME_part.*, or begins as MNIST calls it.
bool IsNamed(const std::string& name, const std::string& part, const std::string& mnist_prefix) {
  return name.starts_with(part + ".") || name.find("_" + part + ".") != std::string::npos ||
         name.starts_with(mnist_prefix);
}

}  // namespace

absl::Status RunAnn(const AnnOptions& options, const std::function<void(const Result&)>& sink,
                    const std::function<void(const std::string&)>& note) {
  return AnnRun(options, note).Run(sink);
}

absl::Status FindSet(const std::string& directory, AnnOptions* options) {
  const std::string suffix =
      options->metric == base::Metric::kCosine ? "cos" : std::string(ToString(options->metric));
  const std::string truth_name = absl::StrCat("gt100_", suffix, ".bin");
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (IsNamed(name, "base", "train-images")) options->base_path = entry.path().string();
    if (IsNamed(name, "query", "t10k-images")) options->query_path = entry.path().string();
    if (name == truth_name) options->truth_path = entry.path().string();
  }
  if (error || options->base_path.empty() || options->query_path.empty()) {
    return absl::NotFoundError(absl::StrCat(directory, " has no base.* and query.* files"));
  }
  const std::filesystem::path path = std::filesystem::path(directory) / ".";
  options->dataset = absl::StrCat(path.lexically_normal().parent_path().filename().string(), "-",
                                  base::Sv(ToString(options->metric)));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<SearchPoint>> ParsePoints(std::string_view text) {
  if (text == "defaults") return std::vector<SearchPoint>(1);
  std::vector<std::pair<std::string, std::vector<double>>> axes;
  for (const absl::string_view axis : absl::StrSplit(base::Sv(text), ';')) {
    const std::vector<std::string> parts = absl::StrSplit(axis, '=');
    std::vector<double> values;
    if (parts.size() == 2 && !parts[0].empty()) {
      for (const absl::string_view word : absl::StrSplit(parts[1], ',')) {
        double value = 0;
        if (!absl::SimpleAtod(word, &value)) {
          return absl::InvalidArgumentError(absl::StrCat("\"", word, "\" is not a number"));
        }
        values.push_back(value);
      }
    }
    if (values.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "\"", axis, "\" does not look like ef=16,32 or nprobe=8,16;k_factor=4 or defaults"));
    }
    axes.emplace_back(parts[0], std::move(values));
  }
  return CrossProduct(axes);
}

std::string CpuName() {
  std::ifstream info("/proc/cpuinfo");
  std::string line;
  std::string name = "unknown CPU";
  while (std::getline(info, line)) {
    if (line.starts_with("model name") && line.find(": ") != std::string::npos) {
      name = line.substr(line.find(": ") + 2);
      break;
    }
  }
  return absl::StrCat(name, " x", std::thread::hardware_concurrency());
}

}  // namespace tessera::bench
