// When a query has probed enough lists.
//
// After the first p lists in probe order a search may end when
//
//   s(p) = ln p - z(p) - 1.5 max(0, w(p))  >=  theta
//
// z(p) is how many standard deviations the k-th best distance so far, T, lies above the mean
// distance of the rows of the lists to come (p + 1 .. p + max(4, p / 4), weighted by their matches
// and further until there is one). A list's rows lie around G + S with a deviation of
// 2 sqrt(G S / 100), G = |q - head|^2 and S its spread; under inner product around -<q, head> with
// |q| sqrt(S / 50). The fewer deviations, the fewer rows of it come closer than T. ln p grows with
// the lists that the next ones stand for.
//
// w(p) is the log of the density of matches in the lists to come over that near the query so far.
// Where matches lie further out than the query, T alone says nothing of them; where they thin out,
// no credit is given.
//
// theta hardly depends on k, the filter or its share, which is why one that was measured without a
// filter serves all of them (calibration/stopping_trace.h).
//
// Threads: one at a time. No allocation once its buffers have grown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "index/heads/head_index.h"

namespace tessera::query {

class StoppingRule {
 public:
  // Begins a query, in search space. `heads` is read until the next one.
  void Begin(const index::HeadIndex& heads, std::span<const float> query);

  // The next list in probe order. `matches`: of its `rows`, as many as may be found.
  void AddPlace(const index::HeadHit& head, uint64_t rows, uint64_t matches);
  size_t places() const { return places_.size(); }

  // Whether enough places are known to judge after the first `passed`. Cost: O(passed / 4).
  bool SeesBeyond(size_t passed) const;

  // s(passed), or somewhat less when it is below `enough` anyway. `kth`: T in search space, may be
  // infinite. Infinity when no place known beyond has a match.
  // Pre: 1 <= passed <= places(). Cost: O(passed), some 5 ns a place.
  double At(size_t passed, float kth, double enough) const;

  // The place to judge at after `passed`.
  static size_t NextCheck(size_t passed);

 private:
  struct Place {
    float mean;     // distance of rows
    float inverse;  // of their standard deviation
    uint64_t rows;
    uint64_t matches;
  };
  size_t WindowEnd(size_t passed) const;
  static double Deviations(const Place& place, double kth);

  const index::HeadIndex* heads_ = nullptr;
  double norm_ = 0;  // of the query
  double deviations_ = 0;  // summed over the places
  std::vector<Place> places_;
};

}  // namespace tessera::query
