#include "index/kmeans.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

#include "base/check.h"
#include "index/kernels/head_kernels.h"
#include "index/matrix.h"
#include "index/parallel_for.h"

namespace tessera::index {
namespace {

// Rows per matrix product: large enough for BLAS, small enough for the L2 cache.
constexpr size_t kChunkRows = 512;

// The penalty grows with a cluster's size up to this many average sizes; unbounded it makes
// neighbouring clusters swap all their rows back and forth.
constexpr float kPenaltySizeMax = 4.0F;

size_t ChunkCount(size_t rows) {
  return (rows + kChunkRows - 1) / kChunkRows;
}

struct Training {
  std::vector<float> rows;  // [n x dim], centred
  std::vector<float> half_norms;
  size_t n = 0;
  size_t dim = 0;
};

// Distinct random positions, in random order, by a partial Fisher-Yates shuffle.
std::vector<uint32_t> DrawPositions(size_t from, size_t count, std::mt19937_64* rng) {
  std::vector<uint32_t> all(from);
  std::iota(all.begin(), all.end(), 0U);
  for (size_t i = 0; i < count; ++i) {
    // Modulo instead of uniform_int_distribution: the same draw with every standard library.
    std::swap(all[i], all[i + (*rng)() % (from - i)]);
  }
  all.resize(count);
  return all;
}

Training DrawTraining(const RowSubset& subset, size_t count, std::mt19937_64* rng) {
  Training training{.rows = {}, .half_norms = {}, .n = count, .dim = subset.dim};
  std::vector<uint32_t> drawn = DrawPositions(subset.members.size(), count, rng);
  for (uint32_t& position : drawn) position = subset.members[position];
  training.rows.resize(count * subset.dim);
  GatherCentred({.rows = subset.rows, .dim = subset.dim, .origin = subset.origin, .members = drawn},
                0, count, training.rows.data());
  training.half_norms = HalfSquaredNorms(training.rows.data(), count, subset.dim);
  return training;
}

void AssignTraining(const Training& training, const CentreSet& set, uint32_t thread_count,
                    std::vector<uint32_t>* labels, std::vector<float>* values) {
  labels->resize(training.n);
  values->resize(training.n);
  ParallelFor(ChunkCount(training.n), thread_count, [&](size_t chunk, uint32_t) {
    const size_t begin = chunk * kChunkRows;
    const size_t m = std::min(kChunkRows, training.n - begin);
    std::vector<float> dots(m * set.k);
    NearestCentres(training.rows.data() + begin * training.dim, m, training.dim, set, dots.data(),
                   labels->data() + begin, values->data() + begin);
  });
}

// Means of the labelled rows into `centres`; an empty cluster takes the farthest row of the
// largest.
// NOLINTNEXTLINE(readability-function-size): one caller
void UpdateCentres(const Training& training, const std::vector<uint32_t>& labels,
                   const std::vector<float>& half_distances, uint32_t thread_count,
                   std::vector<float>* centres, std::vector<uint32_t>* counts) {
  const size_t k = counts->size();
  const size_t dim = training.dim;
  const Grouping groups = GroupByLabel(labels, k);
  for (size_t c = 0; c < k; ++c) (*counts)[c] = static_cast<uint32_t>(groups.of(c).size());
  ParallelFor(k, thread_count, [&](size_t c, uint32_t) {
    if ((*counts)[c] == 0) return;
    std::vector<double> sum(dim, 0.0);
    for (const uint32_t row : groups.of(c)) {
      const float* x = training.rows.data() + row * dim;
      for (size_t j = 0; j < dim; ++j) sum[j] += static_cast<double>(x[j]);
    }
    for (size_t j = 0; j < dim; ++j) {
      (*centres)[c * dim + j] = static_cast<float>(sum[j] / (*counts)[c]);
    }
  });
  const size_t largest =
      static_cast<size_t>(std::max_element(counts->begin(), counts->end()) - counts->begin());
  std::vector<uint32_t> far(groups.of(largest).begin(), groups.of(largest).end());
  std::stable_sort(far.begin(), far.end(),
                   [&](uint32_t a, uint32_t b) { return half_distances[a] > half_distances[b]; });
  size_t taken = 0;
  for (size_t c = 0; c < k && taken < far.size(); ++c) {
    if ((*counts)[c] != 0) continue;
    std::memcpy(centres->data() + c * dim, training.rows.data() + far[taken++] * dim,
                dim * sizeof(float));
  }
}

std::vector<float> TrainCentres(const Training& training, const KMeansOptions& options) {
  const size_t k = options.k;
  const size_t dim = training.dim;
  // The training rows are in random order already.
  std::vector<float> centres(training.rows.begin(),
                             training.rows.begin() + static_cast<ptrdiff_t>(k * dim));
  const float mean_count = static_cast<float>(training.n) / static_cast<float>(k);
  std::vector<uint32_t> counts(k, static_cast<uint32_t>(mean_count));
  std::vector<uint32_t> labels;
  std::vector<float> values;
  std::vector<float> half_distances(training.n);
  float half_cost = 0;  // mean of |x - c|^2 / 2 in the previous iteration
  for (uint32_t iteration = 0; iteration < options.iterations; ++iteration) {
    const std::vector<float> half_norms = HalfSquaredNorms(centres.data(), k, dim);
    std::vector<float> bias = half_norms;
    for (size_t c = 0; c < k; ++c) {
      const float size = std::min(static_cast<float>(counts[c]) / mean_count, kPenaltySizeMax);
      bias[c] += options.balance * half_cost * size;
    }
    AssignTraining(training, {.centres = centres.data(), .bias = bias.data(), .k = k},
                   options.thread_count, &labels, &values);
    double total = 0;
    for (size_t i = 0; i < training.n; ++i) {
      const float penalty = bias[labels[i]] - half_norms[labels[i]];
      half_distances[i] = std::max(training.half_norms[i] - values[i] - penalty, 0.0F);
      total += static_cast<double>(half_distances[i]);
    }
    half_cost = static_cast<float>(total / static_cast<double>(training.n));
    UpdateCentres(training, labels, half_distances, options.thread_count, &centres, &counts);
  }
  return centres;
}

}  // namespace

void GatherCentred(const RowSubset& subset, size_t begin, size_t end, float* out) {
  for (size_t i = begin; i < end; ++i) {
    const float* x = subset.rows + static_cast<size_t>(subset.members[i]) * subset.dim;
    for (size_t j = 0; j < subset.dim; ++j) *out++ = x[j] - subset.origin[j];
  }
}

std::vector<float> HalfSquaredNorms(const float* rows, size_t count, size_t dim) {
  std::vector<float> norms(count);
  for (size_t i = 0; i < count; ++i) {
    double sum = 0;
    for (size_t j = 0; j < dim; ++j) {
      const double value = static_cast<double>(rows[i * dim + j]);
      sum += value * value;
    }
    norms[i] = static_cast<float>(sum / 2);
  }
  return norms;
}

// NOLINTNEXTLINE(readability-function-size): hot, on plain arguments
void NearestCentres(const float* rows, size_t m, size_t dim, const CentreSet& set, float* dots,
                    uint32_t* labels, float* values) {
  const HeadKernels& kernels = ActiveHeadKernels();
  MultiplyTransposed(rows, m, set.centres, set.k, dim, dots);
  for (size_t i = 0; i < m; ++i) {
    labels[i] = kernels.arg_max_difference(dots + i * set.k, set.bias, set.k, &values[i]);
  }
}

std::vector<float> MeanOf(const RowSubset& subset) {
  std::vector<double> sum(subset.dim, 0.0);
  for (const uint32_t member : subset.members) {
    const float* x = subset.rows + static_cast<size_t>(member) * subset.dim;
    for (size_t j = 0; j < subset.dim; ++j) sum[j] += static_cast<double>(x[j]);
  }
  std::vector<float> mean(subset.dim, 0.0F);
  if (subset.members.empty()) return mean;
  const double count = static_cast<double>(subset.members.size());
  for (size_t j = 0; j < subset.dim; ++j) {
    mean[j] = static_cast<float>(sum[j] / count - static_cast<double>(subset.origin[j]));
  }
  return mean;
}

Grouping GroupByLabel(std::span<const uint32_t> labels, size_t groups) {
  Grouping grouping;
  grouping.begin.assign(groups + 1, 0);
  for (const uint32_t label : labels) ++grouping.begin[label + 1];
  for (size_t g = 0; g < groups; ++g) grouping.begin[g + 1] += grouping.begin[g];
  std::vector<uint32_t> next(grouping.begin.begin(), grouping.begin.end() - 1);
  grouping.order.resize(labels.size());
  for (size_t i = 0; i < labels.size(); ++i) {
    grouping.order[next[labels[i]]++] = static_cast<uint32_t>(i);
  }
  return grouping;
}

KMeansResult BalancedKMeans(const RowSubset& subset, const KMeansOptions& options) {
  const size_t n = subset.members.size();
  const size_t dim = subset.dim;
  TESSERA_CHECK(options.k >= 1 && options.k <= n);
  std::mt19937_64 rng(options.seed);
  const size_t train_rows =
      std::min(n, options.k * std::max<size_t>(options.train_rows_per_centre, 1));
  KMeansResult result;
  {
    const Training training = DrawTraining(subset, train_rows, &rng);
    result.centres = TrainCentres(training, options);
  }
  const std::vector<float> bias = HalfSquaredNorms(result.centres.data(), options.k, dim);
  const CentreSet set{.centres = result.centres.data(), .bias = bias.data(), .k = options.k};
  result.labels.resize(n);
  ParallelFor(ChunkCount(n), options.thread_count, [&](size_t chunk, uint32_t) {
    const size_t begin = chunk * kChunkRows;
    const size_t m = std::min(kChunkRows, n - begin);
    std::vector<float> rows(m * dim);
    std::vector<float> dots(m * options.k);
    std::vector<float> values(m);
    GatherCentred(subset, begin, begin + m, rows.data());
    NearestCentres(rows.data(), m, dim, set, dots.data(), result.labels.data() + begin,
                   values.data());
  });
  result.counts.assign(options.k, 0);
  for (const uint32_t label : result.labels) ++result.counts[label];
  return result;
}

}  // namespace tessera::index
