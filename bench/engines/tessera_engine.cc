#include "bench/engines/tessera_engine.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "base/memory_budget.h"
#include "base/status_macros.h"
#include "bench/engines/tessera_common.h"
#include "db/database.h"

namespace tessera::bench {
namespace {

class TesseraEngine : public Engine {
 public:
  explicit TesseraEngine(const EngineOptions& options) : options_(options) {}

  std::string name() const override { return "tessera"; }
  std::string description() const override {
    return absl::StrCat(
        "tessera ", TESSERA_VERSION, " in process, memory limit ",
        options_.memory_limit == 0 ? "default" : base::FormatByteSize(options_.memory_limit));
  }

  absl::Status Build(const VectorFile& base) override;
  std::vector<SearchPoint> DefaultSweep() const override { return TesseraSweep(); }
  absl::Status Configure(const SearchPoint& point) override {
    TESSERA_ASSIGN_OR_RETURN(params_, TesseraParams(point, options_.k));
    return absl::OkStatus();
  }
  absl::Status Search(std::span<const float> query, std::vector<uint64_t>* ids) override {
    TESSERA_ASSIGN_OR_RETURN(const db::SearchResult result, collection_->Search(query, params_));
    return TakeIds(result, ids);
  }
  absl::StatusOr<double> MakeCold() override;
  uint64_t disk_bytes() const override { return DirectoryBytes(path()); }
  uint64_t accounted_bytes() const override { return database_->Memory().used_bytes; }

 private:
  std::string path() const { return absl::StrCat(options_.work_dir, "/data"); }
  absl::Status Open();

  const EngineOptions options_;
  db::SearchParams params_;
  std::unique_ptr<db::Database> database_;
  std::shared_ptr<db::Collection> collection_;
};

absl::Status TesseraEngine::Open() {
  db::DatabaseOptions options;
  options.memory_limit = options_.memory_limit;
  options.threads = options_.build_threads;
  TESSERA_ASSIGN_OR_RETURN(database_, db::Database::Open(path(), options));
  return absl::OkStatus();
}

absl::Status TesseraEngine::Build(const VectorFile& base) {
  TESSERA_RETURN_IF_ERROR(Open());
  TESSERA_RETURN_IF_ERROR(database_->CreateCollection(BenchSchema(base, options_.metric)));
  TESSERA_ASSIGN_OR_RETURN(collection_, database_->GetCollection(kBenchCollection));
  RowSource source(base);
  db::BulkLoadOptions load;
  load.threads = options_.build_threads;
  return collection_
      ->BulkLoad([&source](std::vector<db::Point>* batch) { return source.Next(batch); }, load)
      .status();
}

absl::StatusOr<double> TesseraEngine::MakeCold() {
  collection_.reset();
  TESSERA_RETURN_IF_ERROR(database_->Close());
  database_.reset();
  DropFileCache(path());
  const absl::Time begin = absl::Now();
  TESSERA_RETURN_IF_ERROR(Open());
  TESSERA_ASSIGN_OR_RETURN(collection_, database_->GetCollection(kBenchCollection));
  return absl::ToDoubleSeconds(absl::Now() - begin);
}

}  // namespace

std::unique_ptr<Engine> NewTesseraEngine(const EngineOptions& options) {
  return std::make_unique<TesseraEngine>(options);
}

}  // namespace tessera::bench
