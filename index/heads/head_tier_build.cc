#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "index/clustering.h"
#include "index/codecs/codec_trainer.h"
#include "index/heads/head_tier.h"
#include "index/kmeans.h"
#include "index/matrix.h"
#include "index/parallel_for.h"
#include "index/pca.h"

namespace tessera::index {
namespace {

constexpr uint32_t kGroupHeads = 192;

// A projection pays when it drops many dimensions; the rotations of the codec are quadratic.
constexpr size_t kProjectDimsMin = 192;
constexpr size_t kProjectedMax = 192;
constexpr double kProjectionEnergy = 0.97;
constexpr size_t kProjectionSample = 16384;

constexpr size_t kMeasureQueries = 256;
// Queries that share one matrix product.
constexpr size_t kMeasureBatch = 8;
// Share of the true best heads whose groups must be among those scanned.
constexpr double kMeasureShare = 0.995;

}  // namespace

absl::StatusOr<std::unique_ptr<HeadTier>> HeadTier::Build(const HeadTierInput& input) {
  TESSERA_CHECK(!input.terms.empty() && input.heads.size() == input.terms.size() * input.dim);
  auto tier = std::unique_ptr<HeadTier>(new HeadTier());
  tier->dim_ = input.dim;
  tier->by_dot_ = input.metric == base::Metric::kInnerProduct;
  TESSERA_RETURN_IF_ERROR(tier->BuildProjection(input));
  const std::vector<float> points = tier->Points(input);
  TESSERA_RETURN_IF_ERROR(tier->BuildGroups(points, input));
  tier->MeasureGroupCounts(points, input);
  return tier;
}

absl::Status HeadTier::BuildProjection(const HeadTierInput& input) {
  if (input.dim < kProjectDimsMin) return absl::OkStatus();
  const size_t n = input.terms.size();
  const size_t picked = std::min(n, kProjectionSample);
  std::vector<float> sample(picked * input.dim);
  for (size_t i = 0; i < picked; ++i) {
    std::copy_n(input.heads.data() + i * n / picked * input.dim, input.dim,
                sample.data() + i * input.dim);
  }
  // What all heads have in common does not tell them apart.
  std::vector<uint32_t> all(picked);
  std::iota(all.begin(), all.end(), 0U);
  const std::vector<float> zero(input.dim, 0.0F);
  const std::vector<float> mean =
      MeanOf({.rows = sample.data(), .dim = input.dim, .origin = zero.data(), .members = all});
  for (size_t i = 0; i < picked; ++i) {
    for (size_t j = 0; j < input.dim; ++j) sample[i * input.dim + j] -= mean[j];
  }
  PcaOptions options{.energy = kProjectionEnergy,
                     .multiple_of = kHeadBlock,
                     .seed = input.seed,
                     .thread_count = input.thread_count};
  TESSERA_ASSIGN_OR_RETURN(PcaTransform pca, TrainPca(sample, input.dim, options));
  if (pca.kept > kProjectedMax) {
    const auto total = std::accumulate(
        pca.spectrum.begin(), pca.spectrum.begin() + static_cast<ptrdiff_t>(pca.kept), 0.0);
    const auto most = std::accumulate(
        pca.spectrum.begin(), pca.spectrum.begin() + static_cast<ptrdiff_t>(kProjectedMax), 0.0);
    // The energy that so many directions hold; a little less, for rounding must not add one.
    options.energy = pca.energy * most / total * (1 - 1e-6);
    TESSERA_ASSIGN_OR_RETURN(pca, TrainPca(sample, input.dim, options));
  }
  projected_ = pca.kept;
  projection_codes_.resize(projected_ * dim_);
  projection_scales_.resize(projected_);
  for (size_t row = 0; row < projected_; ++row) {
    projection_scales_[row] =
        EncodeBytes(pca.matrix.data() + row * dim_, dim_, projection_codes_.data() + row * dim_);
  }
  projection_ = Pack(projection_codes_, projection_scales_, dim_);
  return absl::OkStatus();
}

// The points of the heads, with the projection as it was rounded: rows need not be orthonormal any
// more, only the same for heads and queries.
std::vector<float> HeadTier::Points(const HeadTierInput& input) const {
  const size_t n = input.terms.size();
  const size_t kept = point_dim() - 1;
  std::vector<float> matrix(projected_ * dim_);
  for (size_t i = 0; i < matrix.size(); ++i) {
    matrix[i] = projection_scales_[i / dim_] *
                static_cast<float>(static_cast<int>(projection_codes_[i]) - kCodeZero);
  }
  std::vector<float> points(n * (kept + 1));
  constexpr size_t kPart = 256;
  ParallelFor((n + kPart - 1) / kPart, input.thread_count, [&](size_t part, uint32_t) {
    const size_t first = part * kPart;
    const size_t count = std::min(kPart, n - first);
    const float* heads = input.heads.data() + first * dim_;
    std::vector<float> projected;
    if (projected_ > 0) {
      projected.resize(count * kept);
      MultiplyTransposed(heads, count, matrix.data(), kept, dim_, projected.data());
    }
    const float* kept_of = projected_ > 0 ? projected.data() : heads;
    for (size_t i = 0; i < count; ++i) {
      float* point = points.data() + (first + i) * (kept + 1);
      std::copy_n(kept_of + i * kept, kept, point);
      const double term = input.terms[first + i];
      if (by_dot_) {
        point[kept] = static_cast<float>(-term);
        continue;
      }
      double dropped = 0;
      if (projected_ > 0) {
        for (size_t j = 0; j < dim_; ++j) {
          dropped += double{heads[i * dim_ + j]} * heads[i * dim_ + j];
        }
        for (size_t j = 0; j < kept; ++j) dropped -= double{point[j]} * point[j];
      }
      point[kept] = static_cast<float>(std::sqrt(std::max(0.0, dropped) + term));
    }
  });
  return points;
}

absl::Status HeadTier::BuildGroups(const std::vector<float>& points, const HeadTierInput& input) {
  const size_t dim = point_dim();
  const size_t n = input.terms.size();
  const base::Metric metric = by_dot_ ? base::Metric::kInnerProduct : base::Metric::kL2;
  const Clustering groups = BuildClustering(
      points, dim,
      {.list_rows = kGroupHeads, .seed = input.seed, .thread_count = input.thread_count});
  std::vector<double> sums(groups.list_count(), 0.0);
  for (size_t i = 0; i < n; ++i) {
    const float* centre = groups.heads.data() + groups.assignment[i] * dim;
    for (size_t j = 0; j < dim; ++j) {
      const double gap = double{points[i * dim + j]} - centre[j];
      sums[groups.assignment[i]] += gap * gap;
    }
  }
  std::vector<float> spreads(groups.list_count());
  for (size_t g = 0; g < spreads.size(); ++g) {
    spreads[g] = static_cast<float>(sums[g] / groups.list_sizes[g]);
  }
  centres_ = HeadIndex::Build(groups.heads, dim,
                              {.metric = metric,
                               .spreads = spreads,
                               .seed = input.seed,
                               .thread_count = input.thread_count});
  std::vector<float> centres(groups.heads.size());
  for (uint32_t g = 0; g < spreads.size(); ++g) {
    centres_->DecodeHead(g, centres.data() + g * dim);
  }
  // One-byte elements: no fine plane, the heads' own bytes take its place.
  TESSERA_ASSIGN_OR_RETURN(
      codec_,
      TrainRaBitQ({.dim = dim, .rows = points, .heads = centres, .assignment = groups.assignment},
                  {.metric = metric,
                   .type = base::ElementType::kI8,
                   .seed = input.seed,
                   .thread_count = input.thread_count}));
  begin_.assign(spreads.size() + 1, 0);
  for (size_t g = 0; g < spreads.size(); ++g) begin_[g + 1] = begin_[g] + groups.list_sizes[g];
  members_.resize(n);
  std::vector<uint32_t> next(begin_.begin(), begin_.end() - 1);
  for (size_t i = 0; i < n; ++i) {
    members_[next[groups.assignment[i]]++] = static_cast<uint32_t>(i);
  }
  LayOutPlanes();
  planes_.resize(plane_begin_.back());
  ParallelFor(spreads.size(), input.thread_count, [&](size_t g, uint32_t) {
    std::vector<float> rows;
    for (uint32_t at = begin_[g]; at < begin_[g + 1]; ++at) {
      const float* point = points.data() + size_t{members_[at]} * dim;
      rows.insert(rows.end(), point, point + dim);
    }
    codec_->EncodeList(centres.data() + g * dim, rows.data(), rows.size() / dim,
                       planes_.data() + plane_begin_[g], nullptr);
  });
  return absl::OkStatus();
}

// Points between the heads of a group: a head plus half the gap between two others.
std::vector<float> HeadTier::MeasureQueries(const std::vector<float>& points, uint64_t seed) const {
  const size_t dim = point_dim();
  const size_t groups = group_count();
  std::vector<float> queries(kMeasureQueries * dim);
  std::mt19937_64 rng(seed);
  for (size_t i = 0; i < kMeasureQueries; ++i) {
    const size_t group = i * groups / kMeasureQueries;
    const auto pick = [&] {
      return points.data() +
             members_[begin_[group] + rng() % (begin_[group + 1] - begin_[group])] * dim;
    };
    const float* start = pick();
    const float* a = pick();
    const float* b = pick();
    float* query = queries.data() + i * dim;
    double norm2 = 0;
    for (size_t j = 0; j + 1 < dim; ++j) {
      query[j] = start[j] + 0.5F * (a[j] - b[j]);
      norm2 += double{query[j]} * query[j];
    }
    query[dim - 1] = by_dot_ ? static_cast<float>(std::sqrt(norm2)) : 0.0F;
  }
  return queries;
}

// For the best heads of a query, best first, the position of their group in the order of scanning.
std::vector<uint32_t> HeadTier::GroupRanks(const float* query, std::span<const float> keys,
                                           const std::vector<uint32_t>& group_of) const {
  HeadCursor scratch;
  std::vector<HeadHit> order;
  centres_->Nearest(query, static_cast<uint32_t>(group_count()), &scratch, &order);
  std::vector<uint32_t> rank_of(group_count());
  for (uint32_t r = 0; r < order.size(); ++r) rank_of[order[r].list] = r;
  std::vector<uint32_t> best(keys.size());
  std::iota(best.begin(), best.end(), 0U);
  const size_t most = std::min(best.size(), kWantedLevels.back());
  std::partial_sort(best.begin(), best.begin() + static_cast<ptrdiff_t>(most), best.end(),
                    [&](uint32_t a, uint32_t b) { return keys[a] < keys[b]; });
  best.resize(most);
  for (uint32_t& head : best) head = rank_of[group_of[head]];
  return best;
}

// Counts how many groups, in the order of scanning, hold the best heads of the queries.
void HeadTier::MeasureGroupCounts(const std::vector<float>& points, const HeadTierInput& input) {
  const size_t dim = point_dim();
  const size_t n = members_.size();
  std::vector<uint32_t> group_of(n);
  for (uint32_t g = 0; g < group_count(); ++g) {
    for (uint32_t at = begin_[g]; at < begin_[g + 1]; ++at) group_of[members_[at]] = g;
  }
  const std::vector<float> half_norms = HalfSquaredNorms(points.data(), n, dim);
  const std::vector<float> queries = MeasureQueries(points, input.seed);
  std::vector<std::vector<uint32_t>> ranks(kMeasureQueries);
  ParallelFor(kMeasureQueries / kMeasureBatch, input.thread_count, [&](size_t batch, uint32_t) {
    const size_t first = batch * kMeasureBatch;
    std::vector<float> keys(kMeasureBatch * n);
    MultiplyTransposed(queries.data() + first * dim, kMeasureBatch, points.data(), n, dim,
                       keys.data());
    for (size_t i = 0; i < kMeasureBatch; ++i) {
      const std::span<float> of = std::span(keys).subspan(i * n, n);
      for (size_t h = 0; h < n; ++h) of[h] = (by_dot_ ? 0 : half_norms[h]) - of[h];
      ranks[first + i] = GroupRanks(queries.data() + (first + i) * dim, of, group_of);
    }
  });
  uint32_t least = 1;
  for (size_t level = 0; level < kWantedLevels.size(); ++level) {
    std::vector<uint32_t> all;
    for (const std::vector<uint32_t>& of : ranks) {
      const size_t count = std::min(of.size(), kWantedLevels[level]);
      all.insert(all.end(), of.begin(), of.begin() + static_cast<ptrdiff_t>(count));
    }
    const auto at = static_cast<ptrdiff_t>(kMeasureShare * static_cast<double>(all.size() - 1));
    std::nth_element(all.begin(), all.begin() + at, all.end());
    least = std::max(least, all[static_cast<size_t>(at)] + 1);
    group_counts_[level] = least;
  }
}

}  // namespace tessera::index
