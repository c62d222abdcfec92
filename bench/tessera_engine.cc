#include "bench/tessera_engine.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "base/memory_budget.h"
#include "base/status_macros.h"
#include "db/database.h"

namespace tessera::bench {
namespace {

constexpr char kCollection[] = "bench";
constexpr uint64_t kSourceBytes = uint64_t{1} << 20;

// Hands the rows of a file to a bulk load.
class FileSource {
 public:
  explicit FileSource(const VectorFile& file)
      : file_(file), rows_(std::max<uint64_t>(1, kSourceBytes / file.row_bytes())) {}

  absl::Status Next(std::vector<db::Point>* batch) {
    const uint64_t count = std::min(rows_, file_.rows() - next_);
    chunk_.resize(count * file_.row_bytes());
    TESSERA_RETURN_IF_ERROR(file_.Read(next_, count, chunk_.data()));
    for (uint64_t row = 0; row < count; ++row) {
      const char* bytes = reinterpret_cast<const char*>(chunk_.data()) + row * file_.row_bytes();
      db::Point& point = batch->emplace_back();
      point.id = base::PointId(next_ + row);
      point.vectors.push_back({"", std::string(bytes, file_.row_bytes())});
    }
    next_ += count;
    return absl::OkStatus();
  }

 private:
  const VectorFile& file_;
  const uint64_t rows_;
  uint64_t next_ = 0;
  std::vector<std::byte> chunk_;
};

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
  std::vector<SearchPoint> DefaultSweep() const override;
  absl::Status Configure(const SearchPoint& point) override;
  absl::Status Search(std::span<const float> query, std::vector<uint64_t>* ids) override;
  absl::Status MakeCold() override;
  uint64_t disk_bytes() const override;
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
  base::VectorFieldSchema field;
  field.dim = base.dim();
  field.metric = options_.metric;
  field.type = base.type();
  TESSERA_RETURN_IF_ERROR(database_->CreateCollection({kCollection, {field}}));
  TESSERA_ASSIGN_OR_RETURN(collection_, database_->GetCollection(kCollection));
  FileSource source(base);
  db::BulkLoadOptions load;
  load.threads = options_.build_threads;
  return collection_
      ->BulkLoad([&source](std::vector<db::Point>* batch) { return source.Next(batch); }, load)
      .status();
}

std::vector<SearchPoint> TesseraEngine::DefaultSweep() const {
  std::vector<SearchPoint> points(1);  // the defaults
  for (const double target : {0.8, 0.9, 0.97, 0.99, 0.995}) {
    points.push_back({{"recall_target", target}});
  }
  for (const double nprobe : {4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512}) {
    points.push_back({{"nprobe", nprobe}});
  }
  return points;
}

absl::Status TesseraEngine::Configure(const SearchPoint& point) {
  params_ = {};
  params_.limit = options_.k;
  for (const auto& [parameter, value] : point) {
    if (parameter == "recall_target") {
      params_.recall_target = value;
    } else if (parameter == "nprobe") {
      params_.nprobe = static_cast<uint32_t>(value);
    } else if (parameter == "oversampling") {
      params_.oversampling = value;
    } else if (parameter == "exact") {
      params_.exact = value != 0;
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("tessera has no setting ", parameter,
                       ", only recall_target, nprobe, oversampling and exact"));
    }
  }
  return absl::OkStatus();
}

absl::Status TesseraEngine::Search(std::span<const float> query, std::vector<uint64_t>* ids) {
  TESSERA_ASSIGN_OR_RETURN(const db::SearchResult result, collection_->Search(query, params_));
  ids->clear();
  for (const db::Hit& hit : result.hits) {
    const uint64_t* number = hit.id.number();
    if (number == nullptr) {
      return absl::InternalError(
          absl::StrCat("a hit's id is ", hit.id.ToString(), ", only numbers were loaded"));
    }
    ids->push_back(*number);
  }
  return absl::OkStatus();
}

absl::Status TesseraEngine::MakeCold() {
  collection_.reset();
  TESSERA_RETURN_IF_ERROR(database_->Close());
  database_.reset();
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path())) {
    if (!entry.is_regular_file()) continue;
    const int file = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) continue;
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);  // of what is clean, and all of it is
    close(file);
  }
  TESSERA_RETURN_IF_ERROR(Open());
  TESSERA_ASSIGN_OR_RETURN(collection_, database_->GetCollection(kCollection));
  return absl::OkStatus();
}

uint64_t TesseraEngine::disk_bytes() const {
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path())) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  return bytes;
}

}  // namespace

std::unique_ptr<Engine> NewTesseraEngine(const EngineOptions& options) {
  return std::make_unique<TesseraEngine>(options);
}

}  // namespace tessera::bench
