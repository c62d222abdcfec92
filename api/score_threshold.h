// What a score threshold means under a metric.
//
// Threads: free functions.
#pragma once

#include <optional>
#include <string_view>

#include "base/schema.h"

namespace tessera::api {

// Why no hit at all can have a score of `threshold` or more, to go on with after naming it; nullopt:
// some may have. One is easily given: of a metric's distances the smaller are better, of scores the
// larger.
std::optional<std::string_view> WhyNothingReaches(base::Metric metric, float threshold);

}  // namespace tessera::api
