#include "bench/engines/tessera_grpc_engine.h"

#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "api/client.h"
#include "base/memory_budget.h"
#include "base/status_macros.h"
#include "bench/engines/server_process.h"
#include "bench/engines/tessera_common.h"

namespace tessera::bench {
namespace {

class TesseraGrpcEngine : public Engine {
 public:
  explicit TesseraGrpcEngine(const EngineOptions& options) : options_(options) {}

  std::string name() const override { return "tessera_grpc"; }
  std::string description() const override {
    return absl::StrCat(
        "tessera ", TESSERA_VERSION, " over gRPC on this machine, one Search call per query, ",
        "memory limit ",
        options_.memory_limit == 0 ? "default" : base::FormatByteSize(options_.memory_limit));
  }

  absl::Status Build(const VectorFile& base) override;
  std::vector<SearchPoint> DefaultSweep() const override { return TesseraTargets(); }
  absl::Status Configure(const SearchPoint& point) override {
    TESSERA_ASSIGN_OR_RETURN(params_, TesseraParams(point, options_.k));
    return absl::OkStatus();
  }
  absl::Status Search(std::span<const float> query, std::vector<uint64_t>* ids) override {
    TESSERA_ASSIGN_OR_RETURN(const db::SearchResult result,
                             client_->Search(kBenchCollection, query, params_));
    return TakeIds(result, ids);
  }
  absl::StatusOr<double> MakeCold() override;
  uint64_t disk_bytes() const override { return DirectoryBytes(path()); }
  int process_id() const override { return pid_.load(); }
  uint64_t accounted_bytes() const override;

 private:
  std::string path() const { return absl::StrCat(options_.work_dir, "/data"); }
  absl::Status Start();

  const EngineOptions options_;
  db::SearchParams params_;
  std::unique_ptr<ServerProcess> server_;
  std::atomic<int> pid_{-1};  // of the server
  std::unique_ptr<api::Client> client_;
};

absl::Status TesseraGrpcEngine::Start() {
  TESSERA_ASSIGN_OR_RETURN(
      server_, ServerProcess::Start({.binary = options_.server_binary,
                                     .data_dir = path(),
                                     .memory_limit = options_.memory_limit,
                                     .log_path = absl::StrCat(options_.work_dir, "/server.log")}));
  pid_.store(server_->pid());
  client_ = api::NewRemoteClient(server_->address());
  return absl::OkStatus();
}

absl::Status TesseraGrpcEngine::Build(const VectorFile& base) {
  TESSERA_RETURN_IF_ERROR(Start());
  TESSERA_RETURN_IF_ERROR(client_->CreateCollection(BenchSchema(base, options_.metric)));
  RowSource source(base);
  api::IngestOptions load;
  load.mode = api::IngestMode::kBulk;
  load.threads = options_.build_threads;
  return client_
      ->Ingest(
          kBenchCollection, [&source](std::vector<db::Point>* batch) { return source.Next(batch); },
          load)
      .status();
}

absl::StatusOr<double> TesseraGrpcEngine::MakeCold() {
  client_.reset();
  pid_.store(-1);
  TESSERA_RETURN_IF_ERROR(server_->Stop());
  server_.reset();
  DropFileCache(path());
  const absl::Time begin = absl::Now();
  TESSERA_RETURN_IF_ERROR(Start());
  return absl::ToDoubleSeconds(absl::Now() - begin);
}

uint64_t TesseraGrpcEngine::accounted_bytes() const {
  const absl::StatusOr<api::ClientMemory> memory = client_->Memory();
  return memory.ok() ? memory->used_bytes : 0;
}

}  // namespace

std::unique_ptr<Engine> NewTesseraGrpcEngine(const EngineOptions& options) {
  return std::make_unique<TesseraGrpcEngine>(options);
}

}  // namespace tessera::bench
