#include "query/planning/stopping_rule.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace tessera::query {
namespace {

// Directions in which rows of a list vary. Fitted values of four sets were 79 .. 196; between 50
// and 200 it makes no difference that theta does not level out.
constexpr double kDirections = 100;
constexpr double kDirectionsInnerProduct = 50;
// Less lets searches end too early where the nearest rows do not match; more costs lists elsewhere.
constexpr double kDensityWeight = 1.5;
// What is said of the density near the query while nothing there matched.
constexpr double kNothingSeen = 9;
// Lists of hardly any spread are taken for this share of the ordinary one: their z would drown the
// others'.
constexpr double kDeviationFloor = 0.3;
constexpr double kMostDeviations = 1e4;
constexpr size_t kWindowMin = 4;
constexpr double kCheckStep = 1.15;

}  // namespace

void StoppingRule::Begin(const index::HeadIndex& heads, std::span<const float> query) {
  heads_ = &heads;
  double norm2 = 0;
  for (const float x : query) norm2 += double{x} * x;
  norm_ = std::sqrt(norm2);
  deviations_ = 0;
  places_.clear();
}

void StoppingRule::AddPlace(const index::HeadHit& head, uint64_t rows, uint64_t matches) {
  const double spread = heads_->spread(head.list);
  double mean = 0;
  double deviation = 0;
  if (heads_->metric() == base::Metric::kInnerProduct) {
    mean = -double{head.dot};
    deviation = norm_ * std::sqrt(spread / kDirectionsInnerProduct);
  } else {
    mean = head.distance2 + spread;
    deviation = 2 * std::sqrt(std::max(0.0, double{head.distance2}) * spread / kDirections);
  }
  deviations_ += deviation;
  const double ordinary = deviations_ / static_cast<double>(places_.size() + 1);
  deviation = std::max({deviation, kDeviationFloor * ordinary, 1e-30});
  places_.push_back({.mean = static_cast<float>(mean),
                     .inverse = static_cast<float>(1 / deviation),
                     .rows = rows,
                     .matches = matches});
}

size_t StoppingRule::NextCheck(size_t passed) {
  return std::max(passed + 1,
                  static_cast<size_t>(std::ceil(kCheckStep * static_cast<double>(passed))));
}

// The end of the places that stand for those to come; with no match among them, all are.
size_t StoppingRule::WindowEnd(size_t passed) const {
  size_t end = std::min(places_.size(), passed + std::max(kWindowMin, passed / 4));
  const auto any = [&](size_t begin, size_t stop) {
    return std::any_of(places_.begin() + static_cast<ptrdiff_t>(begin),
                       places_.begin() + static_cast<ptrdiff_t>(stop),
                       [](const Place& place) { return place.matches > 0; });
  };
  if (any(passed, end)) return end;
  while (end < places_.size() && places_[end].matches == 0) ++end;
  return std::min(end + 1, places_.size());
}

bool StoppingRule::SeesBeyond(size_t passed) const {
  if (places_.size() < passed + std::max(kWindowMin, passed / 4)) return false;
  return places_[WindowEnd(passed) - 1].matches > 0 || WindowEnd(passed) < places_.size();
}

double StoppingRule::Deviations(const Place& place, double kth) {
  return std::clamp((kth - double{place.mean}) * double{place.inverse}, -kMostDeviations,
                    kMostDeviations);
}

double StoppingRule::At(size_t passed, float kth, double enough) const {
  TESSERA_CHECK(passed >= 1 && passed <= places_.size());
  const size_t end = WindowEnd(passed);
  double rows = 0;
  double matches = 0;
  double z = 0;
  for (size_t i = passed; i < end; ++i) {
    const auto count = static_cast<double>(places_[i].matches);
    rows += static_cast<double>(places_[i].rows);
    matches += count;
    if (count > 0) z += count * Deviations(places_[i], kth);
  }
  if (matches == 0) return std::numeric_limits<double>::infinity();
  const double value = std::log(static_cast<double>(passed)) - z / matches;
  if (!(value >= enough)) return value;

  double rows_near = 0;
  double matches_near = 0;
  for (size_t i = 0; i < passed; ++i) {
    const double weight = std::exp(std::min(Deviations(places_[i], kth), 0.0));
    rows_near += weight * static_cast<double>(places_[i].rows);
    matches_near += weight * static_cast<double>(places_[i].matches);
  }
  double outward = kNothingSeen;
  if (matches_near > 0) outward = std::log(matches / rows * rows_near / matches_near);
  return value - kDensityWeight * std::clamp(outward, 0.0, kNothingSeen);
}

}  // namespace tessera::query
