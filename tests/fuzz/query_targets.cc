#include <string>

#include "base/check.h"
#include "base/status_macros.h"
#include "query/calibration/calibration.h"
#include "tests/fuzz/stored.h"
#include "tests/fuzz/targets.h"

namespace tessera::fuzz {
namespace {

using query::Calibration;

absl::StatusOr<std::string> RewriteCalibration(std::string_view input) {
  TESSERA_ASSIGN_OR_RETURN(const Calibration calibration, Calibration::Deserialize(input));
  for (const double target : {0.0, 0.5, 0.95, 1.0}) {
    for (const uint32_t k : {1U, 10U, 10'000U}) {
      const query::ProbeSettings settings = calibration.ForTarget(target, k);
      TESSERA_CHECK(settings.nprobe >= 1 && settings.nprobe <= calibration.lists());
      TESSERA_CHECK(settings.rerank >= k);
      TESSERA_CHECK(settings.eps >= 0);
      const query::ProbeSettings probed = calibration.ForProbes(settings.nprobe, k);
      TESSERA_CHECK(probed.recall >= 0 && probed.recall <= 1 && probed.rerank >= k);
    }
  }
  return calibration.Serialize();
}

std::vector<Sample> Calibrations() {
  const Calibration measured(
      100'000, 400,
      {{.k = 10,
        .points = {{.recall = 0.8F, .nprobe = 4, .eps = 0.5F, .rerank = 20},
                   {.recall = 0.96875F, .nprobe = 31, .eps = 1.5F, .rerank = 60}}},
       {.k = 100, .points = {{.recall = 0.9F, .nprobe = 40, .eps = 1.25F, .rerank = 300}}}});
  return {{"measured", measured.Serialize()}, {"default", Calibration::Default(7).Serialize()}};
}

}  // namespace

std::vector<Target> QueryTargets() {
  return {{.name = "calibration",
           .run = RunSealed<RewriteCalibration>,
           .rewrite = RewriteCalibration,
           .samples = Calibrations}};
}

}  // namespace tessera::fuzz
