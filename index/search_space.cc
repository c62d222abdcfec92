#include "index/search_space.h"

#include <algorithm>
#include <cmath>

namespace tessera::index {
namespace {

// Largest components between these powers of two are left alone.
constexpr int kExponentLeast = -30;
constexpr int kExponentMost = 30;

}  // namespace

float UnitFor(base::Metric metric, std::span<const float> components) {
  if (metric == base::Metric::kCosine) return 1;
  float largest = 0;
  for (const float x : components) largest = std::max(largest, std::abs(x));
  if (!(largest > 0) || !std::isfinite(largest)) return 1;
  const int exponent = std::ilogb(largest);
  return std::ldexp(1.0F, std::clamp(exponent, kExponentLeast, kExponentMost) - exponent);
}

bool IsUnit(float unit) {
  int exponent = 0;
  return std::isnormal(unit) && std::frexp(unit, &exponent) == 0.5F;
}

void ApplyUnit(float unit, std::span<float> components) {
  for (float& x : components) {
    x = std::clamp(x * unit, -kSearchComponentMost, kSearchComponentMost);
  }
}

}  // namespace tessera::index
