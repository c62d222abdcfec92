#include "bench/engines/engine.h"

#include <cmath>
#include <utility>

namespace tessera::bench {

std::vector<SearchPoint> CrossProduct(
    const std::vector<std::pair<std::string, std::vector<double>>>& axes) {
  std::vector<SearchPoint> points(1);
  for (const auto& [parameter, values] : axes) {
    std::vector<SearchPoint> next;
    for (const SearchPoint& point : points) {
      for (const double value : values) {
        next.push_back(point);
        next.back()[parameter] = value;
      }
    }
    points = std::move(next);
  }
  return points;
}

void Normalize(std::span<float> row) {
  double sum = 0;
  for (const float value : row) sum += static_cast<double>(value) * value;
  if (sum == 0) return;
  const auto scale = static_cast<float>(1 / std::sqrt(sum));
  for (float& value : row) value *= scale;
}

}  // namespace tessera::bench
