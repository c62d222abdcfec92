// Times an engine: every query by itself, on one or more threads, external ids in every reply.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "bench/engines/engine.h"
#include "bench/worker.h"

namespace tessera::bench {

// Shapes: queries [n x dim].
absl::StatusOr<PassReport> MeasurePass(Engine& engine, const std::vector<float>& queries,
                                       size_t dim, const PassRequest& request);

absl::StatusOr<std::vector<std::vector<uint64_t>>> AnswerAll(Engine& engine,
                                                             const std::vector<float>& queries,
                                                             size_t dim);

// The value that a `share` of `sorted` does not exceed (nearest rank); 0 when empty.
double Quantile(const std::vector<double>& sorted, double share);
double Median(std::vector<double> values);

}  // namespace tessera::bench
