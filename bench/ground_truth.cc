#include "bench/ground_truth.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <utility>

#include <cblas.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "base/files/file_system.h"
#include "base/status_macros.h"

namespace tessera::bench {
namespace {

constexpr size_t kQueryBlock = 256;
constexpr size_t kScoreBytesMax = size_t{32} << 20;

struct Candidate {
  double distance = 0;
  uint32_t id = 0;
  friend bool operator<(const Candidate& a, const Candidate& b) {
    return a.distance < b.distance || (a.distance == b.distance && a.id < b.id);
  }
};

// The `capacity` nearest of what was offered; a max-heap.
class Nearest {
 public:
  explicit Nearest(size_t capacity) : capacity_(capacity) { heap_.reserve(capacity); }

  // Nothing at or beyond this distance is taken any more, except a tie with a smaller id.
  double bound() const {
    return heap_.size() < capacity_ ? std::numeric_limits<double>::infinity()
                                    : heap_.front().distance;
  }
  void Offer(const Candidate& candidate) {
    if (heap_.size() < capacity_) {
      heap_.push_back(candidate);
      std::push_heap(heap_.begin(), heap_.end());
    } else if (candidate < heap_.front()) {
      std::pop_heap(heap_.begin(), heap_.end());
      heap_.back() = candidate;
      std::push_heap(heap_.begin(), heap_.end());
    }
  }
  std::vector<Candidate> Sorted() {
    std::sort(heap_.begin(), heap_.end());
    return std::move(heap_);
  }

 private:
  size_t capacity_;
  std::vector<Candidate> heap_;
};

double SquaredNorm(const float* row, size_t dim) {
  double sum = 0;
  for (size_t i = 0; i < dim; ++i) sum += static_cast<double>(row[i]) * row[i];
  return sum;
}

// The distance that an inner product computed in float stands for.
double DistanceOfDot(base::Metric metric, double dot, double query_norm2, double row_norm2) {
  switch (metric) {
    case base::Metric::kL2:
      return query_norm2 + row_norm2 - 2 * dot;
    case base::Metric::kInnerProduct:
      return -dot;
    case base::Metric::kCosine:
      return query_norm2 == 0 || row_norm2 == 0 ? 0 : -dot / std::sqrt(query_norm2 * row_norm2);
  }
  return 0;
}

// How far DistanceOfDot may be off: the classic bound dim * u * |a| * |b| of a float inner product
// in any order of summation, u = 2^-24, with one more factor of two in hand.
double DistanceError(base::Metric metric, size_t dim, double query_norm2, double row_norm2_max) {
  const double relative = static_cast<double>(dim + 2) * 0x1p-23;
  const double dot_error = relative * std::sqrt(query_norm2 * row_norm2_max);
  if (metric == base::Metric::kCosine) return relative;
  return metric == base::Metric::kL2 ? 2 * dot_error : dot_error;
}

class BruteForce {
 public:
  BruteForce(const VectorFile& base, const std::vector<float>& queries, base::Metric metric,
             uint32_t k)
      : base_(base),
        queries_(queries),
        metric_(metric),
        dim_(base.dim()),
        query_count_(queries.size() / base.dim()),
        k_(static_cast<uint32_t>(std::min<uint64_t>(k, base.rows()))) {}

  absl::StatusOr<GroundTruth> Run();

 private:
  absl::Status CollectCandidates();
  void ScanBlock(const std::vector<float>& rows, uint64_t first_row, size_t row_count);
  absl::Status Rank(size_t query, GroundTruth* truth);
  absl::StatusOr<std::vector<Candidate>> FullScan(const float* query) const;

  const VectorFile& base_;
  const std::vector<float>& queries_;
  const base::Metric metric_;
  const size_t dim_;
  const size_t query_count_;
  const uint32_t k_;
  std::vector<double> query_norm2_;
  double row_norm2_max_ = 0;
  std::vector<Nearest> nearest_;
  std::vector<float> dots_;
};

void BruteForce::ScanBlock(const std::vector<float>& rows, uint64_t first_row, size_t row_count) {
  std::vector<double> norms(row_count);
  for (size_t row = 0; row < row_count; ++row) {
    norms[row] = SquaredNorm(&rows[row * dim_], dim_);
    row_norm2_max_ = std::max(row_norm2_max_, norms[row]);
  }
  for (size_t first = 0; first < query_count_; first += kQueryBlock) {
    const size_t count = std::min(kQueryBlock, query_count_ - first);
    dots_.resize(count * row_count);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(count),
                static_cast<int>(row_count), static_cast<int>(dim_), 1.0F, &queries_[first * dim_],
                static_cast<int>(dim_), rows.data(), static_cast<int>(dim_), 0.0F, dots_.data(),
                static_cast<int>(row_count));
    for (size_t q = 0; q < count; ++q) {
      Nearest& nearest = nearest_[first + q];
      const float* dots = &dots_[q * row_count];
      double bound = nearest.bound();
      for (size_t row = 0; row < row_count; ++row) {
        const double distance =
            DistanceOfDot(metric_, dots[row], query_norm2_[first + q], norms[row]);
        if (distance > bound) continue;
        nearest.Offer({distance, static_cast<uint32_t>(first_row + row)});
        bound = nearest.bound();
      }
    }
  }
}

absl::Status BruteForce::CollectCandidates() {
  const size_t capacity = size_t{2} * k_ + 64;
  nearest_.assign(query_count_, Nearest(capacity));
  query_norm2_.resize(query_count_);
  for (size_t q = 0; q < query_count_; ++q) {
    query_norm2_[q] = SquaredNorm(&queries_[q * dim_], dim_);
  }
  const size_t block_rows =
      std::max<size_t>(64, kScoreBytesMax / sizeof(float) / std::max<size_t>(kQueryBlock, dim_));
  std::vector<float> rows(block_rows * dim_);
  for (uint64_t first = 0; first < base_.rows(); first += block_rows) {
    const size_t count = std::min<uint64_t>(block_rows, base_.rows() - first);
    TESSERA_RETURN_IF_ERROR(base_.ReadFloats(first, count, rows.data()));
    ScanBlock(rows, first, count);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Candidate>> BruteForce::FullScan(const float* query) const {
  Nearest nearest(k_);
  const size_t block_rows = std::max<size_t>(64, (size_t{4} << 20) / sizeof(float) / dim_);
  std::vector<float> rows(block_rows * dim_);
  for (uint64_t first = 0; first < base_.rows(); first += block_rows) {
    const size_t count = std::min<uint64_t>(block_rows, base_.rows() - first);
    TESSERA_RETURN_IF_ERROR(base_.ReadFloats(first, count, rows.data()));
    for (size_t row = 0; row < count; ++row) {
      nearest.Offer({ExactDistance(metric_, query, &rows[row * dim_], dim_),
                     static_cast<uint32_t>(first + row)});
    }
  }
  return nearest.Sorted();
}

absl::Status BruteForce::Rank(size_t query, GroundTruth* truth) {
  const float* values = &queries_[query * dim_];
  const double left_out = nearest_[query].bound();
  std::vector<Candidate> best = nearest_[query].Sorted();
  std::vector<float> row(dim_);
  for (Candidate& candidate : best) {
    TESSERA_RETURN_IF_ERROR(base_.ReadFloats(candidate.id, 1, row.data()));
    candidate.distance = ExactDistance(metric_, values, row.data(), dim_);
  }
  std::sort(best.begin(), best.end());
  const double error = DistanceError(metric_, dim_, query_norm2_[query], row_norm2_max_);
  if (best[k_ - 1].distance >= left_out - error) {
    TESSERA_ASSIGN_OR_RETURN(best, FullScan(values));
  }
  for (uint32_t i = 0; i < k_; ++i) {
    truth->ids[query * k_ + i] = best[i].id;
    truth->distances[query * k_ + i] = static_cast<float>(best[i].distance);
  }
  return absl::OkStatus();
}

absl::StatusOr<GroundTruth> BruteForce::Run() {
  TESSERA_RETURN_IF_ERROR(CollectCandidates());
  GroundTruth truth;
  truth.queries = static_cast<uint32_t>(query_count_);
  truth.k = k_;
  truth.ids.resize(query_count_ * k_);
  truth.distances.resize(query_count_ * k_);
  for (size_t q = 0; q < query_count_; ++q) TESSERA_RETURN_IF_ERROR(Rank(q, &truth));
  return truth;
}

// FNV-1a over what tells one version of a file from another, without reading gigabytes.
absl::Status HashFile(const VectorFile& file, uint64_t* hash) {
  const auto add = [hash](std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) {
      *hash = (*hash ^ std::to_integer<uint64_t>(byte)) * 0x100000001b3;
    }
  };
  const uint64_t numbers[] = {file.rows(), file.dim(), static_cast<uint64_t>(file.type())};
  add(std::as_bytes(std::span(numbers)));
  const uint64_t samples = std::min<uint64_t>(file.rows(), 1024);
  std::vector<std::byte> row(file.row_bytes());
  for (uint64_t i = 0; i < samples; ++i) {
    TESSERA_RETURN_IF_ERROR(file.Read(file.rows() * i / samples, 1, row.data()));
    add(row);
  }
  TESSERA_ASSIGN_OR_RETURN(const uint64_t modified,
                           base::PosixFileSystem().ModifiedSeconds(file.path()));
  add(std::as_bytes(std::span(&modified, 1)));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GroundTruth> ReadGroundTruth(const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(auto file, base::PosixFileSystem().OpenForRead(path, {}));
  TESSERA_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  uint32_t header[2] = {0, 0};
  TESSERA_ASSIGN_OR_RETURN(size_t got, file->Read(0, std::as_writable_bytes(std::span(header))));
  const uint64_t values = uint64_t{header[0]} * header[1];
  if (got != sizeof(header) || header[1] == 0 || size != sizeof(header) + 8 * values) {
    return absl::DataLossError(absl::StrCat(path, " has ", size, " bytes, its header (", header[0],
                                            " queries, ", header[1], " neighbours) asks for ",
                                            sizeof(header) + 8 * values));
  }
  GroundTruth truth;
  truth.queries = header[0];
  truth.k = header[1];
  truth.ids.resize(values);
  truth.distances.resize(values);
  TESSERA_ASSIGN_OR_RETURN(
      got, file->Read(sizeof(header), std::as_writable_bytes(std::span(truth.ids))));
  TESSERA_ASSIGN_OR_RETURN(
      const size_t more,
      file->Read(sizeof(header) + 4 * values, std::as_writable_bytes(std::span(truth.distances))));
  if (got != 4 * values || more != 4 * values) {
    return absl::DataLossError(absl::StrCat(path, " changed while it was read"));
  }
  return truth;
}

absl::Status WriteGroundTruth(const GroundTruth& truth, const std::string& path) {
  base::FileSystem& fs = base::PosixFileSystem();
  const std::string temporary = path + ".new";
  TESSERA_ASSIGN_OR_RETURN(auto file, fs.OpenForWrite(temporary, base::WriteMode::kTruncate));
  const uint32_t header[2] = {truth.queries, truth.k};
  TESSERA_RETURN_IF_ERROR(file->Append(std::as_bytes(std::span(header))));
  TESSERA_RETURN_IF_ERROR(file->Append(std::as_bytes(std::span(truth.ids))));
  TESSERA_RETURN_IF_ERROR(file->Append(std::as_bytes(std::span(truth.distances))));
  TESSERA_RETURN_IF_ERROR(file->Sync());
  TESSERA_RETURN_IF_ERROR(file->Close());
  return fs.Rename(temporary, path);
}

double ExactDistance(base::Metric metric, const float* a, const float* b, size_t dim) {
  double dot = 0;
  if (metric == base::Metric::kL2) {
    for (size_t i = 0; i < dim; ++i) {
      const double gap = static_cast<double>(a[i]) - b[i];
      dot += gap * gap;
    }
    return dot;
  }
  for (size_t i = 0; i < dim; ++i) dot += static_cast<double>(a[i]) * b[i];
  if (metric == base::Metric::kInnerProduct) return -dot;
  return DistanceOfDot(metric, dot, SquaredNorm(a, dim), SquaredNorm(b, dim));
}

absl::StatusOr<GroundTruth> ComputeGroundTruth(const VectorFile& base,
                                               const std::vector<float>& queries,
                                               base::Metric metric, uint32_t k) {
  if (k == 0 || base.rows() == 0 || queries.empty() || queries.size() % base.dim() != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "truth of ", k, " neighbours for ", queries.size(), " query components over ", base.rows(),
        " rows of ", base.dim(), " components: all must be positive, whole queries only"));
  }
  if (base.rows() > std::numeric_limits<uint32_t>::max()) {
    return absl::InvalidArgumentError(
        absl::StrCat("truth files number rows with 32 bits, ", base.path(), " has ", base.rows()));
  }
  return BruteForce(base, queries, metric, k).Run();
}

absl::StatusOr<GroundTruth> CachedGroundTruth(const VectorFile& base, const VectorFile& queries,
                                              base::Metric metric, uint32_t k,
                                              const std::string& cache_dir) {
  if (base.dim() != queries.dim()) {
    return absl::InvalidArgumentError(
        absl::StrCat("queries have ", queries.dim(), " components, rows have ", base.dim()));
  }
  TESSERA_ASSIGN_OR_RETURN(const std::vector<float> values, ReadAllFloats(queries));
  if (cache_dir.empty()) return ComputeGroundTruth(base, values, metric, k);
  uint64_t hash = 0xcbf29ce484222325;
  TESSERA_RETURN_IF_ERROR(HashFile(base, &hash));
  TESSERA_RETURN_IF_ERROR(HashFile(queries, &hash));
  base::FileSystem& fs = base::PosixFileSystem();
  TESSERA_RETURN_IF_ERROR(fs.CreateDirectory(cache_dir));
  const std::string path = base::JoinPath(
      cache_dir, absl::StrFormat("truth_%016x_m%d_k%d.bin", hash, static_cast<int>(metric), k));
  TESSERA_ASSIGN_OR_RETURN(const bool cached, fs.Exists(path));
  if (cached) return ReadGroundTruth(path);
  TESSERA_ASSIGN_OR_RETURN(GroundTruth truth, ComputeGroundTruth(base, values, metric, k));
  TESSERA_RETURN_IF_ERROR(WriteGroundTruth(truth, path));
  return truth;
}

}  // namespace tessera::bench
