#include "index/caq.h"

#include <algorithm>
#include <cmath>

namespace tessera::index {
namespace {

// Both sums in units of the grid: y = code - middle.
struct Alignment {
  double dot = 0;    // <y, v>
  double norm2 = 0;  // |y|^2

  bool BetterThan(const Alignment& other) const {
    return dot > 0 && dot * dot * other.norm2 > other.dot * other.dot * norm2;
  }
};

}  // namespace

double QuantiseAligned(const float* vector, size_t dim, uint32_t bits, int rounds, uint8_t* codes) {
  double most = 0;
  for (size_t i = 0; i < dim; ++i) most = std::max(most, std::abs(static_cast<double>(vector[i])));
  if (most == 0) {
    std::fill_n(codes, dim, uint8_t{0});
    return 0;
  }
  const int levels = 1 << bits;
  const double middle = (levels - 1) / 2.0;
  const double delta = 2 * most / levels;
  Alignment now;
  for (size_t i = 0; i < dim; ++i) {
    const int code = std::clamp(static_cast<int>((vector[i] + most) / delta), 0, levels - 1);
    codes[i] = static_cast<uint8_t>(code);
    const double y = code - middle;
    now.dot += y * vector[i];
    now.norm2 += y * y;
  }
  for (int round = 0; round < rounds; ++round) {
    bool changed = false;
    for (size_t i = 0; i < dim; ++i) {
      const double y = codes[i] - middle;
      for (const int step : {1, -1}) {
        if (codes[i] + step < 0 || codes[i] + step >= levels) continue;
        const Alignment moved{now.dot + step * static_cast<double>(vector[i]),
                              now.norm2 + 2 * step * y + 1};
        if (!moved.BetterThan(now)) continue;
        codes[i] = static_cast<uint8_t>(codes[i] + step);
        now = moved;
        changed = true;
        break;
      }
    }
    if (!changed) break;
  }
  return delta;
}

}  // namespace tessera::index
