#include "bench/peers/faiss_engine.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <utility>

#include <faiss/Index.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexIVFPQFastScan.h>
#include <faiss/IndexRefine.h>
#include <omp.h>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace tessera::bench {
namespace {

constexpr uint64_t kChunkRows = 16384;
constexpr uint64_t kTrainRowsPerList = 64;

// Sub-quantisers of two dimensions each (the choice that did best on the sets at hand), or the next
// count that divides the dimension.
size_t SubQuantizers(size_t dim) {
  for (size_t count = std::max<size_t>(1, dim / 2); count > 1; --count) {
    if (dim % count == 0) return count;
  }
  return 1;
}

size_t ListCount(uint64_t rows) {
  const auto wanted = static_cast<uint64_t>(4 * std::sqrt(static_cast<double>(rows)));
  return std::clamp<uint64_t>(wanted, 1, std::max<uint64_t>(1, rows / 39));
}

class FaissEngine : public Engine {
 public:
  explicit FaissEngine(const EngineOptions& options) : options_(options) {}

  std::string name() const override { return "faiss-ivfpqfs"; }
  std::string description() const override {
    return absl::StrCat("FAISS ", FAISS_VERSION_MAJOR, ".", FAISS_VERSION_MINOR, ".",
                        FAISS_VERSION_PATCH, " IVF", list_count_, ",PQ", sub_quantizers_,
                        "x4fs,RFlat (Debian's generic x86-64 build: no AVX)");
  }

  absl::Status Build(const VectorFile& base) override;
  std::vector<SearchPoint> DefaultSweep() const override {
    return CrossProduct({{"k_factor", {4, 10, 25}}, {"nprobe", {2, 4, 8, 16, 32, 64, 128, 256}}});
  }
  absl::Status Configure(const SearchPoint& point) override;
  absl::Status Search(std::span<const float> query, std::vector<uint64_t>* ids) override;

 private:
  absl::Status ReadRows(const VectorFile& base, uint64_t first, uint64_t count, float* out) const;
  absl::Status Train(const VectorFile& base);

  const EngineOptions options_;
  size_t dim_ = 0;
  size_t list_count_ = 0;
  size_t sub_quantizers_ = 0;
  std::unique_ptr<faiss::IndexFlat> coarse_;
  std::unique_ptr<faiss::IndexIVFPQFastScan> lists_;
  std::unique_ptr<faiss::IndexRefineFlat> index_;
  std::vector<uint64_t> external_ids_;  // by FAISS label
};

absl::Status FaissEngine::ReadRows(const VectorFile& base, uint64_t first, uint64_t count,
                                   float* out) const {
  TESSERA_RETURN_IF_ERROR(base.ReadFloats(first, count, out));
  if (options_.metric != base::Metric::kCosine) return absl::OkStatus();
  for (uint64_t row = 0; row < count; ++row) Normalize({out + row * dim_, dim_});
  return absl::OkStatus();
}

absl::Status FaissEngine::Train(const VectorFile& base) {
  const uint64_t samples = std::min(base.rows(), kTrainRowsPerList * list_count_);
  std::vector<float> rows(samples * dim_);
  for (uint64_t i = 0; i < samples; ++i) {
    TESSERA_RETURN_IF_ERROR(ReadRows(base, base.rows() * i / samples, 1, &rows[i * dim_]));
  }
  index_->train(static_cast<int64_t>(samples), rows.data());
  return absl::OkStatus();
}

absl::Status FaissEngine::Build(const VectorFile& base) {
  dim_ = base.dim();
  list_count_ = ListCount(base.rows());
  sub_quantizers_ = SubQuantizers(dim_);
  const faiss::MetricType metric =
      options_.metric == base::Metric::kL2 ? faiss::METRIC_L2 : faiss::METRIC_INNER_PRODUCT;
  omp_set_num_threads(options_.build_threads);
  try {
    coarse_ = std::make_unique<faiss::IndexFlat>(static_cast<int64_t>(dim_), metric);
    lists_ = std::make_unique<faiss::IndexIVFPQFastScan>(coarse_.get(), dim_, list_count_,
                                                         sub_quantizers_, 4, metric);
    lists_->cp.min_points_per_centroid = 1;
    index_ = std::make_unique<faiss::IndexRefineFlat>(lists_.get());
    TESSERA_RETURN_IF_ERROR(Train(base));
    std::vector<float> rows(kChunkRows * dim_);
    for (uint64_t first = 0; first < base.rows(); first += kChunkRows) {
      const uint64_t count = std::min(kChunkRows, base.rows() - first);
      TESSERA_RETURN_IF_ERROR(ReadRows(base, first, count, rows.data()));
      index_->add(static_cast<int64_t>(count), rows.data());
      for (uint64_t row = 0; row < count; ++row) external_ids_.push_back(first + row);
    }
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("FAISS: ", error.what()));
  }
  return absl::OkStatus();
}

absl::Status FaissEngine::Configure(const SearchPoint& point) {
  size_t nprobe = 16;
  double k_factor = 10;
  for (const auto& [parameter, value] : point) {
    if (parameter == "nprobe" && value >= 1) {
      nprobe = static_cast<size_t>(value);
    } else if (parameter == "k_factor" && value >= 1) {
      k_factor = value;
    } else {
      return absl::InvalidArgumentError(absl::StrCat("FAISS has no setting ", parameter, "=", value,
                                                     ", only nprobe >= 1 and k_factor >= 1"));
    }
  }
  lists_->nprobe = std::min(nprobe, list_count_);
  index_->k_factor = static_cast<float>(k_factor);
  return absl::OkStatus();
}

absl::Status FaissEngine::Search(std::span<const float> query, std::vector<uint64_t>* ids) {
  thread_local std::vector<float> unit;
  thread_local std::vector<float> distances;
  thread_local std::vector<int64_t> labels;
  thread_local bool single = false;
  if (!single) {
    omp_set_num_threads(1);  // per thread: the callers are the parallelism
    single = true;
  }
  const float* values = query.data();
  if (options_.metric == base::Metric::kCosine) {
    unit.assign(query.begin(), query.end());
    Normalize(unit);
    values = unit.data();
  }
  distances.resize(options_.k);
  labels.resize(options_.k);
  try {
    index_->search(1, values, options_.k, distances.data(), labels.data());
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("FAISS: ", error.what()));
  }
  ids->clear();
  for (const int64_t label : labels) {
    if (label >= 0) ids->push_back(external_ids_[static_cast<size_t>(label)]);
  }
  return absl::OkStatus();
}

}  // namespace

std::unique_ptr<Engine> NewFaissEngine(const EngineOptions& options) {
  return std::make_unique<FaissEngine>(options);
}

}  // namespace tessera::bench
