// Balanced k-means on one set of rows: one node of the clustering tree, and its building blocks.
//
// Distances are squared L2 computed as |x|^2 - 2 <x, c> + |c|^2 by matrix products. `origin` is
// subtracted from every row first (pass the mean of the data), which keeps that form accurate for
// data far from zero; centres are relative to the origin.
//
// Results depend on the input and the seed only, never on the thread count.
// Threads: free functions without shared state.
// Source:  the balance penalty and the repair of empty clusters follow SPTAG's BKTree.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tessera::index {

// Rows [count x dim] of which some take part: those listed in `members`, in that order.
struct RowSubset {
  const float* rows = nullptr;
  size_t dim = 0;
  const float* origin = nullptr;  // [dim]
  std::span<const uint32_t> members;
};

struct KMeansOptions {
  size_t k = 2;
  uint32_t iterations = 6;
  // Cost of a cluster of average size relative to the mean squared distance. 0 is plain k-means;
  // above ~0.5 clusters are nearly equal and badly shaped.
  float balance = 0.1F;
  // Rows that train one centre; more members than k times this are sampled.
  size_t train_rows_per_centre = 96;
  uint64_t seed = 1;
  uint32_t thread_count = 1;
};

struct KMeansResult {
  std::vector<float> centres;    // [k x dim], relative to the origin
  std::vector<uint32_t> labels;  // [members], nearest centre (without the balance penalty)
  std::vector<uint32_t> counts;  // [k], may hold zeros
};

// Requires 1 <= k <= members.
KMeansResult BalancedKMeans(const RowSubset& subset, const KMeansOptions& options);

// Mean of `subset` relative to its origin, summed in double. Shape: [dim]; zeros when it is empty.
std::vector<float> MeanOf(const RowSubset& subset);

// Copies members [begin, end) minus the origin to `out` [(end - begin) x dim].
void GatherCentred(const RowSubset& subset, size_t begin, size_t end, float* out);

// Half the squared norm of each of `count` rows.
std::vector<float> HalfSquaredNorms(const float* rows, size_t count, size_t dim);

// For each of `m` rows the centre with the largest <x, c> - bias[c] (the nearest one when bias is
// |c|^2 / 2; ties go to the smaller number) and that value. `dots` is scratch of [m x k].
struct CentreSet {
  const float* centres = nullptr;  // [k x dim]
  const float* bias = nullptr;     // [k]
  size_t k = 0;
};
void NearestCentres(const float* rows, size_t m, size_t dim, const CentreSet& set, float* dots,
                    uint32_t* labels, float* values);

// Members of each cluster in order: rows_of(c) = order[begin[c] .. begin[c + 1]).
struct Grouping {
  std::vector<uint32_t> order;
  std::vector<uint32_t> begin;
  std::span<const uint32_t> of(size_t group) const {
    return std::span<const uint32_t>(order).subspan(begin[group], begin[group + 1] - begin[group]);
  }
};
// Positions 0 .. labels.size() - 1 grouped by label (each below `groups`), stable.
Grouping GroupByLabel(std::span<const uint32_t> labels, size_t groups);

}  // namespace tessera::index
