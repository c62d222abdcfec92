#include "index/codecs/codec_trainer.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/status_macros.h"
#include "index/codecs/rabitq_codec.h"
#include "index/matrix.h"
#include "index/parallel_for.h"
#include "index/pca.h"

namespace tessera::index {
namespace {

// Share of the residuals' energy in the code plane when dimensions are dropped.
constexpr double kEnergy = 0.93;
// Dropping dimensions must make the plane at least this much smaller: the bound becomes wider, and
// where the spectrum is flat the additional survivors cost more than the bytes saved.
constexpr double kWorthwhileShare = 0.7;
// Code bits of a row come in bytes.
constexpr size_t kCodeDimUnit = 8;
constexpr size_t kCacheLineBytes = 64;
constexpr size_t kFineFactorBytes = 8;

// Residuals longer than this many median lengths are shortened to it: outliers must not choose the
// directions for all others.
constexpr double kLengthMost = 4;

constexpr size_t kErrorQueries = 128;
constexpr size_t kErrorLists = 8;
constexpr size_t kErrorRowsPerList = 16;
constexpr size_t kErrorHeadsMost = 16384;
// Of rows in general position; taken when the sample has no pair to measure.
constexpr double kSigmaDefault = 0.3;
constexpr double kSigmaLeast = 0.02;
constexpr double kSigmaMost = 10;

double Dot(const float* a, const float* b, size_t dim) {
  double sum = 0;
  for (size_t i = 0; i < dim; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// `count` of the numbers below n, evenly spread; all of them when count >= n.
std::vector<size_t> Spread(size_t n, size_t count) {
  std::vector<size_t> picked(std::min(n, count));
  for (size_t i = 0; i < picked.size(); ++i) picked[i] = i * n / picked.size();
  return picked;
}

// Residuals of up to `count` rows in units of their median length.
std::vector<float> DrawResiduals(const TrainingSet& sample, size_t count) {
  const size_t dim = sample.dim;
  const std::vector<size_t> picked = Spread(sample.assignment.size(), count);
  std::vector<double> lengths(picked.size());
  const auto component = [&](size_t row, size_t i) {
    return static_cast<double>(sample.rows[row * dim + i]) -
           sample.heads[sample.assignment[row] * dim + i];
  };
  for (size_t p = 0; p < picked.size(); ++p) {
    double norm2 = 0;
    for (size_t i = 0; i < dim; ++i) norm2 += component(picked[p], i) * component(picked[p], i);
    lengths[p] = std::sqrt(norm2);
  }
  std::vector<double> positive;
  std::copy_if(lengths.begin(), lengths.end(), std::back_inserter(positive),
               [](double length) { return length > 0; });
  if (positive.empty()) return std::vector<float>(picked.size() * dim);
  const auto middle = positive.begin() + static_cast<ptrdiff_t>(positive.size() / 2);
  std::nth_element(positive.begin(), middle, positive.end());
  const double unit = *middle;
  std::vector<float> residuals(picked.size() * dim);
  for (size_t p = 0; p < picked.size(); ++p) {
    const double scale = 1 / std::max(unit, lengths[p] / kLengthMost);
    for (size_t i = 0; i < dim; ++i) {
      residuals[p * dim + i] = static_cast<float>(component(picked[p], i) * scale);
    }
  }
  return residuals;
}

absl::StatusOr<PcaTransform> TrainProjection(const TrainingSet& sample,
                                             const CodecOptions& options) {
  const size_t dim = sample.dim;
  PcaOptions pca{.energy = kEnergy,
                 .multiple_of = kCodeDimUnit,
                 .seed = options.seed,
                 .thread_count = options.thread_count};
  const std::vector<float> residuals =
      DrawResiduals(sample, dim > kPcaDimsMax ? kPcaDimsMax : std::max<size_t>(16 * dim, 8192));
  // With fewer rows the spectrum is the sample's, not the data's.
  if (residuals.size() / dim >= std::min(2 * dim, kPcaDimsMax)) {
    TESSERA_ASSIGN_OR_RETURN(PcaTransform truncated, TrainPca(residuals, dim, pca));
    if (static_cast<double>(truncated.kept) <= kWorthwhileShare * static_cast<double>(dim)) {
      return truncated;
    }
  }
  pca.energy = 1;
  return TrainPca(residuals, dim, pca);
}

// The sample's rows by list.
struct RowsOfLists {
  std::vector<size_t> begin;  // [m + 1]
  std::vector<size_t> rows;
};

RowsOfLists GroupByList(const TrainingSet& sample) {
  RowsOfLists groups;
  groups.begin.assign(sample.heads.size() / sample.dim + 1, 0);
  for (const uint32_t list : sample.assignment) ++groups.begin[list + 1];
  for (size_t i = 1; i < groups.begin.size(); ++i) groups.begin[i] += groups.begin[i - 1];
  std::vector<size_t> next = groups.begin;
  groups.rows.resize(sample.assignment.size());
  for (size_t row = 0; row < sample.assignment.size(); ++row) {
    groups.rows[next[sample.assignment[row]]++] = row;
  }
  return groups;
}

// Lists nearest to a row, of those in `among`; empty ones are passed over.
std::vector<size_t> NearLists(const TrainingSet& sample, const RowsOfLists& groups,
                              const std::vector<size_t>& among, const float* row) {
  std::vector<std::pair<double, size_t>> ranked;
  for (const size_t list : among) {
    if (groups.begin[list] == groups.begin[list + 1]) continue;
    double distance2 = 0;
    for (size_t i = 0; i < sample.dim; ++i) {
      const double d = static_cast<double>(row[i]) - sample.heads[list * sample.dim + i];
      distance2 += d * d;
    }
    ranked.emplace_back(distance2, list);
  }
  const size_t count = std::min(ranked.size(), kErrorLists);
  std::partial_sort(ranked.begin(), ranked.begin() + static_cast<ptrdiff_t>(count), ranked.end());
  std::vector<size_t> lists(count);
  for (size_t i = 0; i < count; ++i) lists[i] = ranked[i].second;
  return lists;
}

struct ErrorSum {
  double squares = 0;
  size_t count = 0;
};

// Adds the errors of <x', q'> relative to |q - a c| for rows of one list. Everything is scaled to
// unit lengths first, so that neither huge nor tiny rows leave the range of a float.
// NOLINTNEXTLINE(readability-function-size): one caller
void AddErrors(const TrainingSet& sample, const PcaTransform& pca, bool by_dot,
               const std::vector<size_t>& rows, size_t query, size_t list, ErrorSum* sum) {
  const size_t dim = sample.dim;
  const float* head = sample.heads.data() + list * dim;
  const float* q = sample.rows.data() + query * dim;
  const double head_norm2 = Dot(head, head, dim);
  const double alpha = by_dot && head_norm2 > 0 ? Dot(q, head, dim) / head_norm2 : 1;
  // Row 0 is q - a c, the others are residuals.
  std::vector<float> vectors((rows.size() + 1) * dim);
  std::vector<double> wide(dim);
  size_t kept = 0;
  const auto add = [&] {
    const double length = std::sqrt(std::transform_reduce(
        wide.begin(), wide.end(), 0.0, std::plus<>(), [](double v) { return v * v; }));
    if (!(length > 0)) return false;
    for (size_t i = 0; i < dim; ++i) {
      vectors[kept * dim + i] = static_cast<float>(wide[i] / length);
    }
    ++kept;
    return true;
  };
  for (size_t i = 0; i < dim; ++i) wide[i] = q[i] - alpha * head[i];
  if (!add()) return;
  for (const size_t row : rows) {
    if (row == query) continue;
    for (size_t i = 0; i < dim; ++i) {
      wide[i] = static_cast<double>(sample.rows[row * dim + i]) - head[i];
    }
    add();
  }
  std::vector<float> mapped(kept * pca.kept);
  ApplyTransform(pca, vectors.data(), kept, mapped.data());
  for (size_t row = 1; row < kept; ++row) {
    const float* code = mapped.data() + row * pca.kept;
    double norm2 = 0;
    double magnitude = 0;
    double estimate = 0;
    for (size_t j = 0; j < pca.kept; ++j) {
      norm2 += static_cast<double>(code[j]) * code[j];
      magnitude += std::abs(static_cast<double>(code[j])) / 2;
      estimate += (code[j] > 0 ? 0.5 : -0.5) * mapped[j];
    }
    // Rows that the kept dimensions hardly see are given a floor by the codec.
    if (!(norm2 > 1e-3)) continue;
    const double gain = norm2 / magnitude;
    const double error = estimate - Dot(vectors.data(), vectors.data() + row * dim, dim) / gain;
    sum->squares += error * error;
    ++sum->count;
  }
}

float MeasureSigma(const TrainingSet& sample, const PcaTransform& pca,
                   const CodecOptions& options) {
  const size_t dim = sample.dim;
  const RowsOfLists groups = GroupByList(sample);
  const std::vector<size_t> among = Spread(sample.heads.size() / dim, kErrorHeadsMost);
  const std::vector<size_t> queries = Spread(sample.assignment.size(), kErrorQueries);
  std::vector<ErrorSum> sums(queries.size());
  ParallelFor(queries.size(), options.thread_count, [&](size_t i, uint32_t) {
    const float* query = sample.rows.data() + queries[i] * dim;
    for (const size_t list : NearLists(sample, groups, among, query)) {
      std::vector<size_t> rows =
          Spread(groups.begin[list + 1] - groups.begin[list], kErrorRowsPerList);
      for (size_t& row : rows) row = groups.rows[groups.begin[list] + row];
      AddErrors(sample, pca, options.metric != base::Metric::kL2, rows, queries[i], list, &sums[i]);
    }
  });
  ErrorSum total;
  for (const ErrorSum& sum : sums) {
    total.squares += sum.squares;
    total.count += sum.count;
  }
  const double sigma =
      total.count > 0 ? std::sqrt(total.squares / static_cast<double>(total.count)) : kSigmaDefault;
  return static_cast<float>(std::clamp(sigma, kSigmaLeast, kSigmaMost));
}

uint32_t FineBits(size_t dim, base::ElementType type) {
  if (base::ElementBytes(type) == 1) return 0;
  return kFineFactorBytes + dim <= kCacheLineBytes ? 8 : 4;
}

std::vector<float> MeanOf(const TrainingSet& sample) {
  std::vector<double> sums(sample.dim);
  const size_t n = sample.assignment.size();
  for (size_t row = 0; row < n; ++row) {
    for (size_t i = 0; i < sample.dim; ++i) sums[i] += sample.rows[row * sample.dim + i];
  }
  std::vector<float> mean(sample.dim);
  for (size_t i = 0; i < sample.dim && n > 0; ++i) {
    mean[i] = static_cast<float>(sums[i] / static_cast<double>(n));
  }
  return mean;
}

absl::Status CheckCancelled(const CodecOptions& options) {
  if (options.cancelled == nullptr || !options.cancelled->load(std::memory_order_relaxed)) {
    return absl::OkStatus();
  }
  return absl::CancelledError("training the codec was cancelled");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Codec>> TrainRaBitQ(const TrainingSet& sample,
                                                   const CodecOptions& options) {
  if (sample.dim == 0 || sample.dim > base::kDimMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("dim is ", sample.dim, ", must be 1 .. ", base::kDimMax));
  }
  TESSERA_CHECK(sample.rows.size() == sample.assignment.size() * sample.dim);
  TESSERA_CHECK(sample.heads.size() % sample.dim == 0);
  const size_t list_count = sample.heads.size() / sample.dim;
  TESSERA_CHECK(std::all_of(sample.assignment.begin(), sample.assignment.end(),
                            [&](uint32_t list) { return list < list_count; }));
  TESSERA_RETURN_IF_ERROR(CheckCancelled(options));
  TESSERA_ASSIGN_OR_RETURN(PcaTransform pca, TrainProjection(sample, options));
  TESSERA_RETURN_IF_ERROR(CheckCancelled(options));
  RaBitQParameters p;
  p.dim = static_cast<uint32_t>(sample.dim);
  p.metric = options.metric;
  p.code_dim = static_cast<uint32_t>(pca.kept);
  p.fine_bits = FineBits(sample.dim, options.type);
  p.sigma = MeasureSigma(sample, pca, options);
  TESSERA_RETURN_IF_ERROR(CheckCancelled(options));
  p.projection = std::move(pca.matrix);
  p.mean = options.metric == base::Metric::kL2 ? MeanOf(sample) : std::vector<float>(sample.dim);
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<RaBitQCodec> codec, RaBitQCodec::Create(std::move(p)));
  return std::unique_ptr<Codec>(std::move(codec));
}

}  // namespace tessera::index
