#include "query/calibration/calibration.h"

#include <cmath>
#include <string>

#include "gtest/gtest.h"

#include "base/coding/coding.h"
#include "base/coding/sealed.h"

namespace tessera::query {
namespace {

Calibration Measured() {
  return Calibration(100'000, 400,
                     {{.k = 10,
                       .points = {{0.30F, 1, 0.6F, 12},
                                  {0.80F, 10, 0.8F, 16},
                                  {0.90F, 20, 1.0F, 16},
                                  {0.95F, 40, 1.4F, 20},
                                  {0.99F, 120, 2.0F, 32}}},
                      {.k = 100,
                       .points = {{0.25F, 1, 0.6F, 110},
                                  {0.80F, 20, 0.8F, 120},
                                  {0.90F, 40, 1.0F, 130},
                                  {0.95F, 80, 1.4F, 150},
                                  {0.99F, 240, 2.0F, 200}}}});
}

TEST(Calibration, MeasuredPointsComeBackAsTheyAre) {
  const Calibration calibration = Measured();
  for (const CalibrationCurve& curve : calibration.curves()) {
    for (const ProbeSettings& point : curve.points) {
      const ProbeSettings got = calibration.ForTarget(point.recall, curve.k);
      EXPECT_NEAR(got.recall, point.recall, 1e-5);
      EXPECT_EQ(got.nprobe, point.nprobe);
      EXPECT_NEAR(got.eps, point.eps, 1e-5);
      EXPECT_EQ(got.rerank, point.rerank);
      EXPECT_NEAR(calibration.ForProbes(point.nprobe, curve.k).recall, point.recall, 1e-3);
    }
  }
}

TEST(Calibration, SettingsGrowWithTheTargetAndWithK) {
  for (const Calibration& calibration : {Measured(), Calibration::Default(400)}) {
    for (const uint32_t k : {1U, 5U, 10U, 30U, 100U, 1000U, 10000U}) {
      ProbeSettings before = calibration.ForTarget(0, k);
      for (double target = 0.01; target <= 1.0; target += 0.01) {
        const ProbeSettings now = calibration.ForTarget(target, k);
        EXPECT_GE(now.nprobe, before.nprobe) << target << " k " << k;
        EXPECT_GE(now.eps, before.eps) << target << " k " << k;
        EXPECT_GE(now.rerank, before.rerank) << target << " k " << k;
        EXPECT_GE(now.rerank, k);
        EXPECT_LE(now.nprobe, 400U);
        EXPECT_GE(now.nprobe, calibration.ForTarget(target, (k + 1) / 2).nprobe);
        before = now;
      }
    }
  }
}

TEST(Calibration, BetweenPointsSettingsLieBetween) {
  const ProbeSettings got = Measured().ForTarget(0.93, 10);
  EXPECT_GT(got.nprobe, 20U);
  EXPECT_LT(got.nprobe, 40U);
  EXPECT_GT(got.eps, 1.0F);
  EXPECT_LT(got.eps, 1.4F);
  const ProbeSettings across = Measured().ForTarget(0.95, 31);
  EXPECT_GT(across.nprobe, 50U);
  EXPECT_LT(across.nprobe, 64U);
}

TEST(Calibration, BeyondTheLastPointAndTheLastKSettingsGoOnGrowing) {
  const Calibration calibration = Measured();
  EXPECT_GT(calibration.ForTarget(0.995, 10).nprobe, 120U);
  EXPECT_EQ(calibration.ForTarget(1.0, 10).nprobe, 400U);
  EXPECT_GT(calibration.ForTarget(0.95, 1000).nprobe, 80U);
  EXPECT_GE(calibration.ForTarget(0.95, 1000).rerank, 1500U);
}

TEST(Calibration, ExplicitProbesKeepTheirNumberAndEstimateRecall) {
  const Calibration calibration = Measured();
  float before = 0;
  for (uint32_t nprobe = 1; nprobe <= 400; ++nprobe) {
    const ProbeSettings got = calibration.ForProbes(nprobe, 10);
    EXPECT_EQ(got.nprobe, nprobe);
    EXPECT_GE(got.recall, before - 1e-4F);
    before = got.recall;
  }
  EXPECT_GT(before, 0.99F);
  EXPECT_EQ(calibration.ForProbes(5000, 10).nprobe, 400U);
  EXPECT_LT(calibration.ForProbes(1, 10000).recall, 0.1F);
  EXPECT_LT(calibration.ForProbes(40, 1000).recall, calibration.ForProbes(40, 10).recall);
}

TEST(Calibration, MeasurementsThatAreNotMonotoneAreMade) {
  const Calibration calibration(
      1000, 50,
      {{.k = 10, .points = {{0.9F, 20, 1.2F, 30}, {0.8F, 30, 1.0F, 16}}},
       {.k = 100, .points = {{0.8F, 5, 1.0F, 100}, {0.9F, 40, .5F, 100}}}});
  EXPECT_EQ(calibration.ForTarget(0.9, 10).nprobe, 30U);
  EXPECT_FLOAT_EQ(calibration.ForTarget(0.9, 10).eps, 1.2F);
  EXPECT_EQ(calibration.ForTarget(0.8, 100).nprobe, 30U);
  EXPECT_EQ(calibration.ForTarget(0.9, 100).nprobe, 40U);
  EXPECT_FLOAT_EQ(calibration.ForTarget(0.9, 100).eps, 1.2F);
}

TEST(Calibration, OneListIsEnoughWhenThereIsOne) {
  const Calibration calibration = Calibration::Default(1);
  EXPECT_EQ(calibration.ForTarget(0.95, 10).nprobe, 1U);
  EXPECT_EQ(calibration.ForTarget(0.95, 10000).nprobe, 1U);
}

TEST(Calibration, ComesBackFromItsBytes) {
  const Calibration calibration = Measured();
  const std::string bytes = calibration.Serialize();
  const absl::StatusOr<Calibration> back = Calibration::Deserialize(bytes);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(*back == calibration);
  EXPECT_EQ(back->Serialize(), bytes);
  EXPECT_EQ(bytes.size(), 1 + 8 + 4 + 1 + 2 * (4 + 1 + 5 * 20) + 4U);
}

TEST(Calibration, EveryDamageIsDataLoss) {
  const std::string bytes = Measured().Serialize();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(Calibration::Deserialize(bytes.substr(0, size)).status().code(),
              absl::StatusCode::kDataLoss);
  }
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const int flip : {1, 128}) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      EXPECT_EQ(Calibration::Deserialize(damaged).status().code(), absl::StatusCode::kDataLoss);
    }
  }
}

// What was made up is refused, or a calibration like any other.
TEST(Calibration, DamageUnderARightChecksumIsRefusedOrUsable) {
  const std::string bytes = Measured().Serialize();
  const std::string body = bytes.substr(0, bytes.size() - 4);
  const auto use = [](std::string damaged) {
    base::Seal(&damaged);
    const absl::StatusOr<Calibration> read = Calibration::Deserialize(damaged);
    if (!read.ok()) return;
    for (const uint32_t k : {1U, 10U, 10'000U}) {
      const ProbeSettings settings = read->ForTarget(0.95, k);
      EXPECT_GE(settings.nprobe, 1U);
      EXPECT_LE(settings.nprobe, read->lists());
      EXPECT_GE(settings.rerank, k);
      EXPECT_EQ(read->ForProbes(1, k).nprobe, 1U);
    }
  };
  for (size_t size = 0; size < body.size(); ++size) use(body.substr(0, size));
  for (size_t at = 0; at + 4 <= body.size(); ++at) {
    for (const uint32_t number : {0U, 1U, 0xFFFFFFFFU, 0x7F800000U, 0x7FC00000U, 0x3F800000U}) {
      std::string damaged = body;
      base::StoreU32(reinterpret_cast<std::byte*>(damaged.data()) + at, number);
      use(damaged);
    }
  }
}

}  // namespace
}  // namespace tessera::query
