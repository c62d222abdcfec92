// Trains the codec of a vector field from a sample of its rows: no parameter is the user's.
//
// Threads: free functions; TrainRaBitQ uses up to thread_count threads itself.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"

#include "base/types.h"
#include "index/codecs/codec.h"

namespace tessera::index {

// A clustered sample, in search space (see codec.h).
struct TrainingSet {
  size_t dim = 0;
  std::span<const float> rows;           // [n x dim], finite; n may be 0
  std::span<const float> heads;          // [m x dim], as the index will keep them
  std::span<const uint32_t> assignment;  // [n], below m
};

struct CodecOptions {
  base::Metric metric = base::Metric::kL2;
  base::ElementType type = base::ElementType::kF32;  // of the stored rows
  uint64_t seed = 1;
  uint32_t thread_count = 0;                     // 0: one per core
  const std::atomic<bool>* cancelled = nullptr;  // looked at between steps and sample queries
};

// Trains a RaBitQ codec.
//
// Code plane: the principal directions of the residuals (row minus head) that hold 93 % of their
//   energy, in multiples of 8, when those are clearly fewer than all; every dimension otherwise.
// Fine plane: none for one-byte elements, whose raw rows take its place; 8 bits a dimension while
//   such a record is one cache line, else 4.
// Sigma: the error of the 1-bit estimates, measured with sample rows as queries on near lists.
//
// The result depends on the sample and the seed, not on the thread count.
// Errors: kInvalidArgument for a dim outside 1 .. base::kDimMax; kInternal when LAPACK fails.
// Cost:   O(s dim^2 + dim^3) with s about 16 * dim rows drawn from the sample: a second or so at
//         dim 768. Memory: the drawn residuals and a few [dim x dim] matrices.
absl::StatusOr<std::unique_ptr<Codec>> TrainRaBitQ(const TrainingSet& sample,
                                                   const CodecOptions& options);

}  // namespace tessera::index
