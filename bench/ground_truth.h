// Exact nearest neighbours: read from a file, or computed by brute force and cached in one.
//
// File (little-endian): u32 queries, u32 k, u32 ids[queries x k], f32 distances[queries x k];
// ascending by distance, ties to the smaller id. Distances are squared L2, minus the inner product,
// or minus the cosine. A line with fewer than k answers is padded with distance infinity.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/types.h"
#include "bench/dataset.h"

namespace tessera::bench {

struct GroundTruth {
  uint32_t queries = 0;
  uint32_t k = 0;
  std::vector<uint32_t> ids;     // [queries x k]
  std::vector<float> distances;  // [queries x k]
};

// Errors: kNotFound; kDataLoss when the size does not fit the header.
absl::StatusOr<GroundTruth> ReadGroundTruth(const std::string& path);
// Appears whole or not at all (written beside, then renamed).
absl::Status WriteGroundTruth(const GroundTruth& truth, const std::string& path);

// The distance of two rows in double precision; a zero vector under cosine has distance 0.
double ExactDistance(base::Metric metric, const float* a, const float* b, size_t dim);

// Brute force over all rows of `base`.
//
// Inner products come from sgemm; the candidates they leave are ranked again in double precision.
// A query whose candidates are not provably complete (the gap to the first row left out is within
// the rounding error) is scanned once more, all in double precision, so that the result is exact.
//
// Shapes: queries [query_count x base.dim()]. k is cut to the row count.
// Cost:   2 * rows * queries * dim operations; memory of about 64 MB beside queries and result.
absl::StatusOr<GroundTruth> ComputeGroundTruth(const VectorFile& base,
                                               const std::vector<float>& queries,
                                               base::Metric metric, uint32_t k);

// Reads the result from `cache_dir` if these very files were computed before, else computes and
// stores it. An empty cache_dir always computes.
absl::StatusOr<GroundTruth> CachedGroundTruth(const VectorFile& base, const VectorFile& queries,
                                              base::Metric metric, uint32_t k,
                                              const std::string& cache_dir);

}  // namespace tessera::bench
