#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <faiss/impl/FaissException.h>
#include <faiss/impl/ProductQuantizer.h>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "index/parallel_for.h"
#include "index/pq_codec.h"

namespace tessera::index {
namespace {

constexpr size_t kCacheLineBytes = 64;
constexpr size_t kFineFactorBytes = 8;

// 256 points a word are what FAISS uses at most.
constexpr size_t kTrainRows = kPqWords * 256;
constexpr int kTrainRounds = 16;
constexpr double kWordMost = 1e18;

constexpr size_t kErrorQueries = 256;
constexpr size_t kErrorRowsPerList = 16;
// Isotropic errors in `dim` dimensions; taken when the sample has no pair to measure.
double DefaultSigma(size_t dim) {
  return 1 / std::sqrt(static_cast<double>(dim));
}
constexpr double kSigmaLeast = 1e-3;
constexpr double kSigmaMost = 10;

// `count` of the numbers below n, evenly spread; all of them when count >= n.
std::vector<size_t> Spread(size_t n, size_t count) {
  std::vector<size_t> picked(std::min(n, count));
  for (size_t i = 0; i < picked.size(); ++i) picked[i] = i * n / picked.size();
  return picked;
}

double Residual(const TrainingSet& sample, size_t row, size_t j) {
  return static_cast<double>(sample.rows[row * sample.dim + j]) -
         sample.heads[sample.assignment[row] * sample.dim + j];
}

// Trains the dictionary of dimensions 2 m and 2 m + 1 on the residuals of `picked`.
absl::Status TrainDictionary(const TrainingSet& sample, const std::vector<size_t>& picked, size_t m,
                             uint64_t seed, float* words) {
  // At least one point a word, repeated if need be: FAISS refuses fewer.
  const size_t count = std::max(picked.size(), kPqWords);
  std::vector<float> points(count * kPqWordDims, 0.0F);
  for (size_t i = 0; i < count && !picked.empty(); ++i) {
    for (size_t j = 0; j < kPqWordDims && 2 * m + j < sample.dim; ++j) {
      const double value = Residual(sample, picked[i % picked.size()], 2 * m + j);
      points[i * kPqWordDims + j] = static_cast<float>(std::clamp(value, -kWordMost, kWordMost));
    }
  }
  try {
    faiss::ProductQuantizer quantizer(kPqWordDims, 1, 4);
    quantizer.cp.seed = static_cast<int>((seed * 2654435761U + m) & 0x7FFFFFFF);
    quantizer.cp.niter = kTrainRounds;
    quantizer.cp.min_points_per_centroid = 1;
    quantizer.train(count, points.data());
    if (quantizer.centroids.size() != kPqWords * kPqWordDims) {
      return absl::InternalError(
          absl::StrCat("FAISS trained ", quantizer.centroids.size(), " components"));
    }
    for (size_t i = 0; i < quantizer.centroids.size(); ++i) {
      const float value = quantizer.centroids[i];
      words[i] = std::isfinite(value) ? value : 0.0F;
    }
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("FAISS: ", error.what()));
  }
  // A dimension beyond the last has one value.
  if (2 * m + 1 >= sample.dim) {
    for (size_t w = 0; w < kPqWords; ++w) words[w * kPqWordDims + 1] = 0;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> TrainWords(const TrainingSet& sample,
                                              const CodecOptions& options) {
  const size_t dictionaries = PqDictionaries(sample.dim);
  const std::vector<size_t> picked = Spread(sample.assignment.size(), kTrainRows);
  std::vector<float> words(dictionaries * kPqWords * kPqWordDims);
  std::vector<absl::Status> statuses(dictionaries);
  ParallelFor(dictionaries, options.thread_count, [&](size_t m, uint32_t) {
    statuses[m] =
        TrainDictionary(sample, picked, m, options.seed, words.data() + m * kPqWords * kPqWordDims);
  });
  for (const absl::Status& status : statuses) TESSERA_RETURN_IF_ERROR(status);
  return words;
}

std::vector<float> MeanOf(const TrainingSet& sample) {
  std::vector<double> sums(sample.dim);
  const size_t n = sample.assignment.size();
  for (size_t row = 0; row < n; ++row) {
    for (size_t j = 0; j < sample.dim; ++j) sums[j] += sample.rows[row * sample.dim + j];
  }
  std::vector<float> mean(sample.dim);
  for (size_t j = 0; j < sample.dim && n > 0; ++j) {
    mean[j] = static_cast<float>(sums[j] / static_cast<double>(n));
  }
  return mean;
}

// Errors of a list's codes, seen from one of its rows.
struct ErrorSum {
  double squares = 0;
  size_t count = 0;
};

// Adds the errors of <q - a c, r^ - r> relative to |q - a c| E for the row `query` and others of
// its list.
ErrorSum ErrorsOf(const PqCodec& codec, const TrainingSet& sample, size_t query,
                  const std::vector<size_t>& rows) {
  const size_t dim = sample.dim;
  const float* head = sample.heads.data() + sample.assignment[query] * dim;
  const float* q = sample.rows.data() + query * dim;
  double dot = 0;
  double head_norm2 = 0;
  for (size_t j = 0; j < dim; ++j) {
    dot += static_cast<double>(q[j]) * head[j];
    head_norm2 += static_cast<double>(head[j]) * head[j];
  }
  const bool by_dot = codec.metric() != base::Metric::kL2;
  const double alpha = by_dot && head_norm2 > 0 ? dot / head_norm2 : 1;
  double gap2 = 0;
  for (size_t j = 0; j < dim; ++j) {
    const double gap = q[j] - alpha * head[j];
    gap2 += gap * gap;
  }
  std::vector<float> residual(dim);
  std::vector<float> words(dim);
  std::vector<double> errors;
  double code_error2 = 0;
  for (const size_t row : rows) {
    if (row == query) continue;
    for (size_t j = 0; j < dim; ++j) residual[j] = static_cast<float>(Residual(sample, row, j));
    codec.Quantise(residual.data(), nullptr, words.data());
    double error = 0;
    for (size_t j = 0; j < dim; ++j) {
      const double gap = static_cast<double>(words[j]) - residual[j];
      code_error2 += gap * gap;
      error += gap * (q[j] - alpha * head[j]);
    }
    errors.push_back(error);
  }
  const double unit2 = errors.empty() ? 0 : gap2 * code_error2 / static_cast<double>(errors.size());
  ErrorSum sum;
  if (!(unit2 > 0) || !std::isfinite(unit2)) return sum;
  for (const double error : errors) sum.squares += error * error / unit2;
  sum.count = errors.size();
  return sum;
}

float MeasureSigma(const PqCodec& codec, const TrainingSet& sample, const CodecOptions& options) {
  std::vector<std::vector<size_t>> rows_of(sample.heads.size() / sample.dim);
  for (size_t row = 0; row < sample.assignment.size(); ++row) {
    rows_of[sample.assignment[row]].push_back(row);
  }
  const std::vector<size_t> queries = Spread(sample.assignment.size(), kErrorQueries);
  std::vector<ErrorSum> sums(queries.size());
  ParallelFor(queries.size(), options.thread_count, [&](size_t i, uint32_t) {
    const std::vector<size_t>& all = rows_of[sample.assignment[queries[i]]];
    std::vector<size_t> rows = Spread(all.size(), kErrorRowsPerList);
    for (size_t& row : rows) row = all[row];
    sums[i] = ErrorsOf(codec, sample, queries[i], rows);
  });
  ErrorSum total;
  for (const ErrorSum& sum : sums) {
    total.squares += sum.squares;
    total.count += sum.count;
  }
  const double sigma = total.count > 0 ? std::sqrt(total.squares / static_cast<double>(total.count))
                                       : DefaultSigma(sample.dim);
  return static_cast<float>(std::clamp(sigma, kSigmaLeast, kSigmaMost));
}

uint32_t FineBits(size_t dim, base::ElementType type) {
  if (base::ElementBytes(type) == 1) return 0;
  return kFineFactorBytes + dim <= kCacheLineBytes ? 8 : 4;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Codec>> TrainPq(const TrainingSet& sample,
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
  PqParameters p;
  p.dim = static_cast<uint32_t>(sample.dim);
  p.metric = options.metric;
  p.fine_bits = FineBits(sample.dim, options.type);
  p.mean = options.metric == base::Metric::kL2 ? MeanOf(sample) : std::vector<float>(sample.dim);
  TESSERA_ASSIGN_OR_RETURN(p.words, TrainWords(sample, options));
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<PqCodec> draft, PqCodec::Create(p));
  p.sigma = MeasureSigma(*draft, sample, options);
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<PqCodec> codec, PqCodec::Create(std::move(p)));
  return std::unique_ptr<Codec>(std::move(codec));
}

}  // namespace tessera::index
