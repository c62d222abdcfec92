// Turns result lines into a Markdown table, for notes and change descriptions.
#pragma once

#include <string>
#include <vector>

#include "bench/result.h"

namespace tessera::bench {

// A row for each data set and engine: what it costs, QPS at recall 0.95 (and how many times that of
// hnswlib in the same group that is), what the defaults give, warm and after a cold start.
std::string RenderMarkdown(const std::vector<Result>& results);

}  // namespace tessera::bench
