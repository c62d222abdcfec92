#include "bench/engines/tessera_common.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace tessera::bench {
namespace {

constexpr uint64_t kBatchBytes = uint64_t{1} << 20;

template <typename Visitor>
void VisitFiles(const std::string& directory, const Visitor& visit) {
  std::error_code error;
  std::filesystem::recursive_directory_iterator at(directory, error);
  // Background work may remove a file between the listing and the look at it.
  for (; !error && at != std::filesystem::recursive_directory_iterator(); at.increment(error)) {
    std::error_code gone;
    if (at->is_regular_file(gone)) visit(*at);
  }
}

}  // namespace

RowSource::RowSource(const VectorFile& file)
    : file_(file), batch_rows_(std::max<uint64_t>(1, kBatchBytes / file.row_bytes())) {}

absl::Status RowSource::Next(std::vector<db::Point>* batch) {
  const uint64_t count = std::min(batch_rows_, file_.rows() - next_);
  chunk_.resize(count * file_.row_bytes());
  TESSERA_RETURN_IF_ERROR(file_.Read(next_, count, chunk_.data()));
  const char* bytes = reinterpret_cast<const char*>(chunk_.data());
  for (uint64_t row = 0; row < count; ++row) {
    db::Point& point = batch->emplace_back();
    point.id = base::PointId(next_ + row);
    point.vectors.push_back({"", std::string(bytes + row * file_.row_bytes(), file_.row_bytes())});
  }
  next_ += count;
  return absl::OkStatus();
}

base::CollectionSchema BenchSchema(const VectorFile& file, base::Metric metric) {
  base::VectorFieldSchema field;
  field.dim = file.dim();
  field.metric = metric;
  field.type = file.type();
  return {kBenchCollection, {field}};
}

std::vector<SearchPoint> TesseraTargets() {
  std::vector<SearchPoint> points(1);  // the defaults
  for (const double target : {0.8, 0.9, 0.95, 0.98, 0.99}) {
    points.push_back({{"recall_target", target}});
  }
  return points;
}

std::vector<SearchPoint> TesseraSweep() {
  std::vector<SearchPoint> points = TesseraTargets();
  for (const double nprobe : {2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512}) {
    points.push_back({{"nprobe", nprobe}});
  }
  const std::vector<SearchPoint> depths =
      CrossProduct({{"oversampling", {1, 2, 4}}, {"nprobe", {4, 8, 16, 32, 64, 128, 256}}});
  points.insert(points.end(), depths.begin(), depths.end());
  return points;
}

absl::StatusOr<db::SearchParams> TesseraParams(const SearchPoint& point, uint32_t limit) {
  db::SearchParams params;
  params.limit = limit;
  for (const auto& [parameter, value] : point) {
    if (parameter == "recall_target") {
      params.recall_target = value;
    } else if (parameter == "nprobe") {
      params.nprobe = static_cast<uint32_t>(value);
    } else if (parameter == "oversampling") {
      params.oversampling = value;
    } else if (parameter == "exact") {
      params.exact = value != 0;
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("tessera has no setting ", parameter,
                       ", only recall_target, nprobe, oversampling and exact"));
    }
  }
  return params;
}

absl::Status TakeIds(const db::SearchResult& result, std::vector<uint64_t>* ids) {
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

uint64_t DirectoryBytes(const std::string& directory) {
  uint64_t bytes = 0;
  VisitFiles(directory, [&bytes](const std::filesystem::directory_entry& entry) {
    std::error_code gone;
    const uint64_t size = entry.file_size(gone);
    if (!gone) bytes += size;
  });
  return bytes;
}

void DropFileCache(const std::string& directory) {
  VisitFiles(directory, [](const std::filesystem::directory_entry& entry) {
    const int file = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);  // of what is clean, and all of it is
    close(file);
  });
}

}  // namespace tessera::bench
