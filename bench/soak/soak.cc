#include "bench/soak/soak.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <numeric>
#include <ostream>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "api/client.h"
#include "base/memory_budget.h"
#include "base/status_macros.h"
#include "bench/engines/server_process.h"
#include "bench/memory_sampler.h"
#include "bench/soak/memory_cgroup.h"
#include "bench/soak/soak_clients.h"
#include "bench/soak/soak_model.h"
#include "bench/worker.h"

namespace tessera::bench {
namespace {

constexpr uint64_t kLoadBatchRows = 1000;
constexpr int kChecks = 6;
constexpr int kTableRows = 30;
// Whether memory still grows shows only after caches and pools have filled.
constexpr double kFlatSecondsMin = 300;
constexpr double kFlatSlack = 0.05;  // of the limit

struct Sample {
  uint64_t anonymous_bytes = 0;
  uint64_t accounted_bytes = 0;
};

double MiB(uint64_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

absl::Status Load(const SoakOptions& options, SoakModel& model, api::Client& client) {
  TESSERA_RETURN_IF_ERROR(client.CreateCollection(
      {.name = kSoakCollection,
       .vectors = {{.name = "", .dim = options.dim, .metric = base::Metric::kL2}}}));
  const auto end = static_cast<uint64_t>(options.loaded * static_cast<double>(options.rows));
  if (end == 0) return absl::OkStatus();
  uint64_t next = 0;
  std::vector<float> vector(options.dim);
  const auto source = [&](std::vector<db::Point>* batch) {
    for (const uint64_t last = std::min(end, next + kLoadBatchRows); next < last; ++next) {
      model.Vector(next, model.Send(next, /*upsert=*/true), vector);
      const auto bytes = std::as_bytes(std::span(vector));
      db::Point& point = batch->emplace_back();
      point.id = base::PointId(next);
      point.vectors.push_back({"", {reinterpret_cast<const char*>(bytes.data()), bytes.size()}});
    }
    return absl::OkStatus();
  };
  api::IngestOptions bulk;
  bulk.mode = api::IngestMode::kBulk;
  TESSERA_RETURN_IF_ERROR(client.Ingest(kSoakCollection, source, bulk).status());
  for (uint64_t id = 0; id < end; ++id) model.Acknowledge(id);
  return absl::OkStatus();
}

uint64_t Mean(std::span<const Sample> samples) {
  uint64_t sum = 0;
  for (const Sample& sample : samples) sum += sample.anonymous_bytes;
  return samples.empty() ? 0 : sum / samples.size();
}

class Soak {
 public:
  Soak(const SoakOptions& options, std::string directory, std::ostream& out)
      : options_(options),
        directory_(std::move(directory)),
        out_(out),
        limit_bytes_(options.memory_limit +
                     static_cast<uint64_t>(options.memory_slack *
                                           static_cast<double>(options.memory_limit))),
        cgroup_(limit_bytes_),
        model_(options.rows, options.dim, options.seed),
        run_(model_) {}

  absl::StatusOr<bool> Run() {
    TESSERA_ASSIGN_OR_RETURN(server_, ServerProcess::Start({.binary = options_.server_binary,
                                                            .data_dir = directory_ + "/data",
                                                            .memory_limit = options_.memory_limit,
                                                            .log_path = directory_ + "/server.log",
                                                            .cgroup_procs = cgroup_.procs_path()}));
    const int pid = server_->pid();
    MemorySampler peak([pid] { return ProcessMemory("RssAnon", pid); });
    run_.address = server_->address();
    client_ = api::NewRemoteClient(run_.address);
    begin_ = absl::Now();
    TESSERA_RETURN_IF_ERROR(Load(options_, model_, *client_));
    out_ << absl::StreamFormat(
        "%d x %d, limit %s, %scgroup, %d writers, %d readers; loaded in %.0f s, peak %.1f MiB\n",
        options_.rows, options_.dim, base::FormatByteSize(options_.memory_limit),
        cgroup_.exists() ? "" : "no ", options_.writers, options_.readers,
        absl::ToDoubleSeconds(absl::Now() - begin_), MiB(peak.peak()));
    out_
        << "seconds  anonymous  accounted   upserts   deletes  searches  refused: writes searches  "
           "wrong  recall\n";
    begin_ = absl::Now();
    TESSERA_RETURN_IF_ERROR(Work());
    const uint64_t peak_bytes = peak.peak();
    client_.reset();
    TESSERA_RETURN_IF_ERROR(server_->Stop());
    return Judge(peak_bytes);
  }

 private:
  absl::Status Work() {
    std::vector<absl::Status> ends(options_.writers);
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < options_.writers; ++i) {
      threads.emplace_back([this, i, &ends] {
        ends[i] = SoakWrite(run_, i, options_.writers);
        if (!ends[i].ok()) failed_.store(true);
      });
    }
    for (uint32_t i = 0; i < options_.readers; ++i) {
      threads.emplace_back([this, i] { SoakSearch(run_, i); });
    }
    absl::Status watched = Watch();
    run_.stop.store(true);
    for (std::thread& thread : threads) thread.join();
    for (absl::Status& end : ends) {
      // One that was refused until the end has written nothing of its last batch.
      if (!end.ok() && !SoakRefused(end)) return end;
    }
    return watched;
  }

  absl::Status Watch() {
    uint32_t checks = 0;
    double printed = 0;
    while (!failed_.load()) {
      absl::SleepFor(absl::Seconds(1));
      const double seconds = absl::ToDoubleSeconds(absl::Now() - begin_);
      TESSERA_ASSIGN_OR_RETURN(const api::ClientMemory memory, client_->Memory());
      samples_.push_back({ProcessMemory("RssAnon", server_->pid()), memory.used_bytes});
      const bool last = seconds >= options_.seconds;
      if (last || seconds * kChecks >= options_.seconds * (checks + 1)) {
        run_.pause.store(true);
        {
          const std::unique_lock<std::shared_mutex> quiet(run_.quiet);
          recall_ = SoakCheck(run_, ++checks);
        }
        run_.pause.store(false);
        recalls_.push_back(recall_);
      }
      if (last || seconds - printed >= options_.seconds / kTableRows) {
        Print(seconds);
        printed = seconds;
      }
      if (last) break;
    }
    return absl::OkStatus();
  }

  void Print(double seconds) {
    out_ << absl::StreamFormat("%7.0f %10.1f %10.1f %9d %9d %9d %16d %8d %6d  %.3f\n", seconds,
                               MiB(samples_.back().anonymous_bytes),
                               MiB(samples_.back().accounted_bytes), run_.written.load(),
                               run_.deleted.load(), run_.searches.load(),
                               run_.refused_writes.load(), run_.refused_searches.load(),
                               run_.wrong.load(), recall_)
         << std::flush;
  }

  bool Bar(bool holds, const std::string& text) {
    out_ << (holds ? "holds:  " : "BROKEN: ") << text << '\n';
    return holds;
  }

  bool Judge(uint64_t peak_bytes) {
    for (const std::string& text : run_.texts()) out_ << text << '\n';
    const double recall = std::accumulate(recalls_.begin(), recalls_.end(), 0.0) /
                          static_cast<double>(std::max<size_t>(1, recalls_.size()));
    out_ << absl::StreamFormat("recall while nobody writes: %.3f in %d checks\n", recall,
                               recalls_.size());
    bool good = Bar(peak_bytes <= limit_bytes_ && cgroup_.kills() == 0,
                    absl::StrFormat("anonymous memory at most %.1f MiB, it was %.1f at its peak",
                                    MiB(limit_bytes_), MiB(peak_bytes)));
    if (options_.seconds >= kFlatSecondsMin) {
      const std::span<const Sample> all(samples_);
      const size_t fifth = all.size() / 5;
      const uint64_t middle = Mean(all.subspan(2 * fifth, fifth));
      const uint64_t end = Mean(all.last(fifth));
      const auto slack =
          static_cast<uint64_t>(kFlatSlack * static_cast<double>(options_.memory_limit));
      good &= Bar(end <= middle + slack,
                  absl::StrFormat("flat: %.1f MiB in the third fifth of the time, %.1f in the last",
                                  MiB(middle), MiB(end)));
    }
    good &= Bar(run_.refused_searches.load() == 0,
                absl::StrCat(run_.refused_searches.load(), " of ", run_.searches.load(),
                             " searches refused"));
    good &= Bar(run_.wrong.load() == 0, absl::StrCat(run_.wrong.load(), " wrong answers"));
    return good;
  }

  const SoakOptions& options_;
  const std::string directory_;
  std::ostream& out_;
  const uint64_t limit_bytes_;
  MemoryCgroup cgroup_;  // outlives the server
  SoakModel model_;
  SoakRun run_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<api::Client> client_;
  absl::Time begin_;
  std::atomic<bool> failed_{false};
  std::vector<Sample> samples_;  // one a second
  std::vector<double> recalls_;
  double recall_ = 0;  // of the last check
};

}  // namespace

absl::StatusOr<bool> RunSoak(const SoakOptions& options, std::ostream& out) {
  const std::string directory = absl::StrCat(options.work_dir, "/tessera_soak_", getpid());
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  absl::StatusOr<bool> result = Soak(options, directory, out).Run();
  std::filesystem::remove_all(directory, error);
  return result;
}

}  // namespace tessera::bench
