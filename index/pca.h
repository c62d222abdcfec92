// The linear transform in front of a codec: the directions that hold most of the residuals' energy,
// randomly rotated among themselves so that every output dimension carries about the same share.
//
// Threads: free functions without shared state.
// Source:  PCA segment of SAQ and the random rotation of RaBitQ; the rotation is drawn uniformly
//          (QR of a Gaussian matrix).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

namespace tessera::index {

// Directions kept at most, and the largest eigenproblem ever solved.
inline constexpr size_t kPcaDimsMax = 2048;

struct PcaOptions {
  // Share of the residuals' energy to keep, 0 .. 1. 1 keeps every dimension (up to kPcaDimsMax).
  double energy = 0.85;
  // The kept dimensions are rounded up to a multiple of this, but never above dim.
  size_t multiple_of = 4;
  uint64_t seed = 1;
  uint32_t thread_count = 0;  // 0: one per core
};

struct PcaTransform {
  size_t dim = 0;
  size_t kept = 0;
  std::vector<float> matrix;    // [kept x dim], orthonormal rows; apply as y = matrix * x
  double energy = 0;            // share of the sample's energy in the kept dimensions
  std::vector<float> spectrum;  // energy per direction, descending, of at least the kept ones
};

// Shapes: residuals [n x dim] (rows minus their heads; not centred again), finite; n may be 0, then
//         the result is a random rotation that keeps `energy` of the dimensions.
// Errors: kInternal when LAPACK fails; kInvalidArgument for dim 0 or energy outside 0 .. 1.
// Cost:   O(n dim^2 + dim^3) for dim up to kPcaDimsMax; beyond, or with fewer rows than dimensions,
//         O(s^2 dim + s^3) with s = min(n, kPcaDimsMax) rows.
absl::StatusOr<PcaTransform> TrainPca(std::span<const float> residuals, size_t dim,
                                      const PcaOptions& options);

// A uniformly random rotation. Shape: [dim x dim].
absl::StatusOr<std::vector<float>> RandomRotation(size_t dim, uint64_t seed);

// out [n x kept] = rows [n x dim] * matrix^T.
void ApplyTransform(const PcaTransform& transform, const float* rows, size_t n, float* out);

}  // namespace tessera::index
