// Random filters with a second, separate account of what they mean, and random points to try them.
#pragma once

#include <functional>
#include <random>
#include <string>

#include "base/point_id.h"
#include "base/value.h"

namespace tessera::inline test {

struct OracleFilter {
  std::string text;  // an expression
  std::function<bool(const base::PointId& id, const base::Value& payload)> holds;
};

class FilterOracle {
 public:
  explicit FilterOracle(uint64_t seed) : rng_(seed) {}

  // Conditions of every kind, nested up to `depth`.
  OracleFilter Draw(int depth);
  // Keys a, b, c.d with missing, null, mixed and list values from few constants, so that filters
  // are often true; and a geo point at "geo".
  base::Value DrawPayload();
  base::PointId DrawId() { return base::PointId(Below(20)); }

 private:
  uint64_t Below(uint64_t end) { return rng_() % end; }
  base::Value DrawScalar();
  base::Value DrawField();
  std::string DrawPath();
  OracleFilter DrawCondition();
  OracleFilter DrawComparison(const std::string& path);
  OracleFilter DrawSet(const std::string& path);
  OracleFilter DrawGeo();

  std::mt19937_64 rng_;
};

}  // namespace tessera::inline test
