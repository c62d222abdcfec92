#include "bench/filter/filter_data.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "bench/ann.h"
#include "bench/dataset.h"

namespace tessera::bench {
namespace {

constexpr size_t kBatchRows = 2048;
constexpr uint64_t kZipfValues = 100'000;
constexpr uint64_t kCellStep = 4729;  // rows between two that are cells; a prime

double Uniform(uint64_t row, uint64_t salt) {
  std::mt19937_64 rng(row * 2 + salt * 0x9e3779b97f4a7c15);
  rng.discard(2);
  return static_cast<double>(rng() >> 11) * 0x1p-53;
}

double Distance(const float* a, const float* b, size_t dim) {
  double sum = 0;
  for (size_t i = 0; i < dim; ++i) sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return sum;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FilterData>> FilterData::Open(const std::string& set,
                                                             base::Metric metric, bool fields) {
  auto data = std::unique_ptr<FilterData>(new FilterData());
  data->fields_ = fields;
  AnnOptions found;
  found.metric = metric;
  TESSERA_RETURN_IF_ERROR(FindSet(set, &found));
  data->name_ = found.dataset;
  TESSERA_ASSIGN_OR_RETURN(const auto base_file, VectorFile::Open(found.base_path));
  TESSERA_ASSIGN_OR_RETURN(const auto query_file, VectorFile::Open(found.query_path));
  TESSERA_ASSIGN_OR_RETURN(data->queries_, ReadAllFloats(*query_file));
  const uint32_t dim = base_file->dim();
  data->schema_ = {
      .name = "c",
      .vectors = {{.name = "", .dim = dim, .metric = metric, .type = base_file->type()}}};
  api::PointSourceOptions source;
  source.vectors.push_back({.field = "", .path = found.base_path, .format = {}});
  if (fields) {
    for (const auto& entry : std::filesystem::directory_iterator(set)) {
      if (entry.path().filename().string().starts_with("payload.")) {
        source.payload_path = entry.path().string();
      }
    }
  }
  TESSERA_ASSIGN_OR_RETURN(data->rows_, api::OpenJoinedRows(data->schema_, source));
  std::mt19937_64 rng(7);
  std::normal_distribution<float> normal;
  for (uint32_t i = 0; i < dim; ++i) data->direction_.push_back(normal(rng));
  data->cells_.resize(size_t{kFilterCells} * dim);
  for (uint64_t cell = 0; cell < kFilterCells; ++cell) {
    TESSERA_RETURN_IF_ERROR(
        base_file->ReadFloats(cell * kCellStep % base_file->rows(), 1, &data->cells_[cell * dim]));
  }
  double sum = 0;
  for (uint64_t i = 1; i <= kZipfValues; ++i) {
    sum += 1 / static_cast<double>(i);
    data->zipf_.push_back(sum);
  }
  data->zipf_counts_.resize(kZipfValues);
  return data;
}

std::vector<uint32_t> FilterData::NearestCells(const float* vector, size_t count) const {
  const size_t dim = direction_.size();
  std::vector<double> distances(kFilterCells);
  for (uint32_t i = 0; i < kFilterCells; ++i) {
    distances[i] = Distance(vector, &cells_[i * dim], dim);
  }
  std::vector<uint32_t> order(kFilterCells);
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return distances[a] < distances[b]; });
  order.resize(count);
  return order;
}

void FilterData::AddFields(uint64_t row, db::Point* point) {
  const size_t dim = direction_.size();
  std::vector<float> vector(dim);
  ConvertToFloats(schema_.vectors[0].type,
                  reinterpret_cast<const std::byte*>(point->vectors[0].bytes.data()), dim,
                  vector.data());
  const float along = std::inner_product(vector.begin(), vector.end(), direction_.begin(), 0.0F);
  const double drawn = Uniform(row, 2) * zipf_.back();
  const auto zipf = static_cast<uint64_t>(std::lower_bound(zipf_.begin(), zipf_.end() - 1, drawn) -
                                          zipf_.begin());
  correlated_.push_back(along);
  ++zipf_counts_[zipf];
  base::Value::Object object;
  if (point->payload.object() != nullptr) object = std::move(*point->payload.object());
  object["u"] = base::Value(Uniform(row, 1));
  object["z"] = base::Value(static_cast<int64_t>(zipf));
  object["c"] = base::Value(double{along});
  object["cell"] = base::Value(int64_t{NearestCells(vector.data(), 1)[0]});
  object["n"] = base::Value(static_cast<int64_t>(Uniform(row, 3) * kFilterNumbers));
  point->payload = base::Value(std::move(object));
}

absl::Status FilterData::Next(std::vector<db::Point>* batch) {
  while (batch->size() < kBatchRows) {
    api::PointRow row;
    TESSERA_ASSIGN_OR_RETURN(const bool more, rows_->Next(&row));
    if (!more) break;
    TESSERA_RETURN_IF_ERROR(row.status);
    if (fields_) AddFields(row_, &row.point);
    ++row_;
    batch->push_back(std::move(row.point));
  }
  return absl::OkStatus();
}

double FilterData::CorrelatedBelow(double share) const {
  std::vector<float> sorted = correlated_;
  const auto at = static_cast<ptrdiff_t>(
      std::min(share * static_cast<double>(sorted.size()), static_cast<double>(sorted.size() - 1)));
  std::nth_element(sorted.begin(), sorted.begin() + at, sorted.end());
  return sorted[at];
}

uint64_t FilterData::ZipfValue(double share) const {
  const double wanted = share * static_cast<double>(row_);
  uint64_t best = 0;
  for (uint64_t i = 0; i < zipf_counts_.size(); ++i) {
    if (std::abs(static_cast<double>(zipf_counts_[i]) - wanted) <
        std::abs(static_cast<double>(zipf_counts_[best]) - wanted)) {
      best = i;
    }
  }
  return best;
}

}  // namespace tessera::bench
