#include "index/assigner.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "index/kmeans.h"
#include "index/parallel_for.h"

namespace tessera::index {
namespace {

constexpr size_t kBatchRows = 2048;
constexpr size_t kProductRows = 256;  // rows per matrix product: its result stays in the L2 cache
constexpr size_t kFlatHeadsMax = 256;
constexpr size_t kCalibrationRows = 2048;
// Mean squared distance above that of the true nearest heads, relative: a rare miss may be a bad
// one.
constexpr double kExcessMax = 0.002;
// Gathering rows per group costs too: beyond this share of the groups one product is as fast.
constexpr double kProbedShareMax = 0.6;

std::vector<uint32_t> Iota(size_t count) {
  std::vector<uint32_t> all(count);
  std::iota(all.begin(), all.end(), 0U);
  return all;
}

}  // namespace

// The state of one batch of rows on its way through the two levels.
struct Assigner::Batch {
  std::vector<float> rows;  // [n x dim], centred
  std::vector<uint32_t> heads;
  std::vector<float> values;  // <x, h> - |h|^2 / 2 of the best head so far
  std::vector<float> super_dots;
  std::vector<std::pair<float, uint32_t>> ranked;
  std::vector<uint32_t> pair_group;  // [n x probes]
  std::vector<float> gathered;
  std::vector<float> dots;
  std::vector<float> group_values;  // [n x groups] best value in each group; empty: not wanted
};

Assigner::Assigner(std::span<const float> heads, size_t dim, std::span<const float> sample,
                   const AssignerOptions& options)
    : dim_(dim), thread_count_(options.thread_count) {
  TESSERA_CHECK(dim > 0 && !heads.empty() && heads.size() % dim == 0 && sample.size() % dim == 0);
  const size_t n = heads.size() / dim;
  const std::vector<float> zero(dim, 0.0F);
  const std::vector<uint32_t> all = Iota(n);
  origin_ = MeanOf({.rows = heads.data(), .dim = dim, .origin = zero.data(), .members = all});
  heads_.resize(heads.size());
  GatherCentred({.rows = heads.data(), .dim = dim, .origin = origin_.data(), .members = all}, 0, n,
                heads_.data());
  list_of_ = all;
  group_begin_ = {0, static_cast<uint32_t>(n)};
  if (n > kFlatHeadsMax && !sample.empty() && options.agreement < 1.0) BuildGroups(options);
  bias_ = HalfSquaredNorms(heads_.data(), n, dim);
  if (group_count() > 1) {
    probes_ = ProbesFor(sample, options);
    const double share = static_cast<double>(probes_) / static_cast<double>(group_count());
    if (share > kProbedShareMax) {
      group_begin_ = {0, static_cast<uint32_t>(n)};
      super_.clear();
      super_bias_.clear();
      probes_ = 1;
    }
  }
}

void Assigner::BuildGroups(const AssignerOptions& options) {
  const size_t n = heads_.size() / dim_;
  const std::vector<float> zero(dim_, 0.0F);
  const std::vector<uint32_t> all = Iota(n);
  const RowSubset subset{.rows = heads_.data(), .dim = dim_, .origin = zero.data(), .members = all};
  KMeansResult groups = BalancedKMeans(
      subset, {.k = static_cast<size_t>(std::lround(std::sqrt(static_cast<double>(n)))),
               .seed = options.seed,
               .thread_count = options.thread_count});
  Grouping grouping = GroupByLabel(groups.labels, groups.counts.size());
  std::vector<float> ordered(heads_.size());
  GatherCentred(
      {.rows = heads_.data(), .dim = dim_, .origin = zero.data(), .members = grouping.order}, 0, n,
      ordered.data());
  heads_ = std::move(ordered);
  list_of_ = std::move(grouping.order);
  group_begin_ = std::move(grouping.begin);
  super_ = std::move(groups.centres);
  super_bias_ = HalfSquaredNorms(super_.data(), group_count(), dim_);
}

size_t Assigner::ProbesFor(std::span<const float> sample, const AssignerOptions& options) const {
  const size_t n = std::min(sample.size() / dim_, kCalibrationRows);
  const size_t groups = group_count();
  std::vector<float> rows;
  for (size_t i = 0; i < n; ++i) {
    const float* row = sample.data() + i * (sample.size() / dim_) / n * dim_;
    rows.insert(rows.end(), row, row + dim_);
  }
  // For each row and number of probes the squared distance found, halved.
  std::vector<float> found(n * groups);
  constexpr size_t kPartRows = 256;
  ParallelFor((n + kPartRows - 1) / kPartRows, thread_count_, [&](size_t part, uint32_t) {
    const size_t begin = part * kPartRows;
    const size_t m = std::min(n - begin, kPartRows);
    Batch batch;
    batch.group_values.assign(m * groups, -std::numeric_limits<float>::infinity());
    AssignBatch(rows.data() + begin * dim_, m, groups, &batch);
    const std::vector<float> half_norms = HalfSquaredNorms(batch.rows.data(), m, dim_);
    for (size_t i = 0; i < m; ++i) {
      RankGroups(i, groups, &batch);
      std::sort(batch.ranked.begin(), batch.ranked.end());
      float best = -std::numeric_limits<float>::infinity();
      for (size_t p = 0; p < groups; ++p) {
        best = std::max(best, batch.group_values[i * groups + batch.ranked[p].second]);
        found[(begin + i) * groups + p] = std::max(half_norms[i] - best, 0.0F);
      }
    }
  });
  for (size_t probes = 1; probes < groups; ++probes) {
    size_t agree = 0;
    double cost = 0;
    double best_cost = 0;
    for (size_t i = 0; i < n; ++i) {
      const float own = found[i * groups + probes - 1];
      const float best = found[i * groups + groups - 1];
      // A probe may be empty and find nothing; infinity disagrees.
      agree += own <= best ? 1 : 0;
      cost += static_cast<double>(own);
      best_cost += static_cast<double>(best);
    }
    if (static_cast<double>(agree) >= options.agreement * static_cast<double>(n) &&
        cost <= (1.0 + kExcessMax) * best_cost) {
      return probes;
    }
  }
  return groups;
}

// Fills batch->ranked with (half squared distance + constant, group), the nearest `probes` first in
// any order.
void Assigner::RankGroups(size_t row, size_t probes, Batch* batch) const {
  const size_t groups = group_count();
  batch->ranked.resize(groups);
  for (size_t g = 0; g < groups; ++g) {
    batch->ranked[g] = {super_bias_[g] - batch->super_dots[row * groups + g],
                        static_cast<uint32_t>(g)};
  }
  if (probes < groups) {
    std::nth_element(batch->ranked.begin(),
                     batch->ranked.begin() + static_cast<ptrdiff_t>(probes - 1),
                     batch->ranked.end());
  }
}

void Assigner::CompareGroup(size_t group, std::span<const uint32_t> batch_rows,
                            Batch* batch) const {
  const size_t first = group_begin_[group];
  const size_t heads = group_begin_[group + 1] - first;
  if (heads == 0) return;
  const CentreSet set{
      .centres = heads_.data() + first * dim_, .bias = bias_.data() + first, .k = heads};
  const std::vector<float> zero(dim_, 0.0F);
  const RowSubset subset{
      .rows = batch->rows.data(), .dim = dim_, .origin = zero.data(), .members = batch_rows};
  uint32_t labels[kProductRows];
  float values[kProductRows];
  batch->gathered.resize(kProductRows * dim_);
  batch->dots.resize(kProductRows * heads);
  for (size_t begin = 0; begin < batch_rows.size(); begin += kProductRows) {
    const size_t m = std::min(kProductRows, batch_rows.size() - begin);
    GatherCentred(subset, begin, begin + m, batch->gathered.data());
    NearestCentres(batch->gathered.data(), m, dim_, set, batch->dots.data(), labels, values);
    for (size_t i = 0; i < m; ++i) {
      const uint32_t row = batch_rows[begin + i];
      if (!batch->group_values.empty()) {
        batch->group_values[row * group_count() + group] = values[i];
      }
      if (values[i] > batch->values[row]) {
        batch->values[row] = values[i];
        batch->heads[row] = static_cast<uint32_t>(first) + labels[i];
      }
    }
  }
}

void Assigner::AssignBatch(const float* rows, size_t n, size_t probes, Batch* batch) const {
  const std::vector<uint32_t> all = Iota(n);
  batch->rows.resize(n * dim_);
  GatherCentred({.rows = rows, .dim = dim_, .origin = origin_.data(), .members = all}, 0, n,
                batch->rows.data());
  batch->heads.assign(n, 0);
  batch->values.assign(n, -std::numeric_limits<float>::infinity());
  const size_t groups = group_count();
  if (groups == 1) {
    CompareGroup(0, all, batch);
    return;
  }
  batch->super_dots.resize(n * groups);
  std::vector<uint32_t> ignored(n);
  std::vector<float> ignored_values(n);
  NearestCentres(batch->rows.data(), n, dim_,
                 {.centres = super_.data(), .bias = super_bias_.data(), .k = groups},
                 batch->super_dots.data(), ignored.data(), ignored_values.data());
  batch->pair_group.resize(n * probes);
  for (size_t i = 0; i < n; ++i) {
    RankGroups(i, probes, batch);
    for (size_t p = 0; p < probes; ++p) {
      batch->pair_group[i * probes + p] = batch->ranked[p].second;
    }
  }
  Grouping grouping = GroupByLabel(batch->pair_group, groups);
  for (uint32_t& pair : grouping.order) pair /= static_cast<uint32_t>(probes);
  for (size_t g = 0; g < groups; ++g) CompareGroup(g, grouping.of(g), batch);
}

void Assigner::Assign(const float* rows, size_t n, uint32_t* lists, float* distances2) const {
  const size_t batches = (n + kBatchRows - 1) / kBatchRows;
  std::vector<Batch> scratch(EffectiveThreads(thread_count_));
  ParallelFor(batches, thread_count_, [&](size_t b, uint32_t worker) {
    Batch& batch = scratch[worker];
    const size_t begin = b * kBatchRows;
    const size_t m = std::min(kBatchRows, n - begin);
    AssignBatch(rows + begin * dim_, m, probes_, &batch);
    for (size_t i = 0; i < m; ++i) lists[begin + i] = list_of_[batch.heads[i]];
    if (distances2 == nullptr) return;
    const std::vector<float> half_norms = HalfSquaredNorms(batch.rows.data(), m, dim_);
    for (size_t i = 0; i < m; ++i) {
      distances2[begin + i] = std::max(2 * (half_norms[i] - batch.values[i]), 0.0F);
    }
  });
}

size_t Assigner::memory_bytes() const {
  return sizeof(*this) +
         (origin_.size() + heads_.size() + bias_.size() + super_.size() + super_bias_.size()) *
             sizeof(float) +
         (list_of_.size() + group_begin_.size()) * sizeof(uint32_t);
}

}  // namespace tessera::index
