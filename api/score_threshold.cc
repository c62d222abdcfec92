#include "api/score_threshold.h"

namespace tessera::api {

std::optional<std::string_view> WhyNothingReaches(base::Metric metric, float threshold) {
  if (metric == base::Metric::kL2 && threshold > 0) {
    return "but under l2 a score is minus the squared distance and never above 0, so that nothing "
           "would be left; for distances up to D give -D*D";
  }
  if (metric == base::Metric::kCosine && threshold > 1) {
    return "but under cosine a score is the cosine and never above 1, so that nothing would be left";
  }
  return std::nullopt;
}

}  // namespace tessera::api
