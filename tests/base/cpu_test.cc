#include "base/cpu.h"

#include <cstdlib>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "gtest/gtest.h"

namespace tessera::base {
namespace {

TEST(Cpu, LevelsAreAscendingAndStartWithScalar) {
  const std::vector<CpuLevel> levels = SupportedCpuLevels();
  ASSERT_FALSE(levels.empty());
  EXPECT_EQ(levels.front(), CpuLevel::kScalar);
  for (size_t i = 1; i < levels.size(); ++i) EXPECT_LT(levels[i - 1], levels[i]);
}

TEST(Cpu, PicksTheBestUnlessForced) {
  EXPECT_EQ(PickCpuLevel(nullptr), SupportedCpuLevels().back());
  for (const CpuLevel level : SupportedCpuLevels()) {
    EXPECT_EQ(PickCpuLevel(std::string(ToString(level)).c_str()), level);
  }
}

TEST(Cpu, TheActiveLevelIsTheForcedOneOrTheBest) {
  EXPECT_EQ(ActiveCpuLevel(), PickCpuLevel(std::getenv("TESSERA_CPU")));
}

TEST(CpuDeathTest, AnImpossibleForceAborts) {
  EXPECT_DEATH(PickCpuLevel("sse9"), "TESSERA_CPU=sse9 is unknown");
  EXPECT_DEATH(PickCpuLevel(""), "is unknown");
}

#if defined(__x86_64__)

TESSERA_TARGET_BEGIN("avx2,fma")
float SumOfEight(const float* values) {
  const __m256 row =
      _mm256_fmadd_ps(_mm256_loadu_ps(values), _mm256_set1_ps(1.0F), _mm256_setzero_ps());
  float out[8];
  _mm256_storeu_ps(out, row);
  float sum = 0;
  for (const float each : out) sum += each;
  return sum;
}
TESSERA_TARGET_END

TESSERA_TARGET_BEGIN(TESSERA_AVX512_FEATURES)
void CountBits(const int* values, int* out) {
  _mm512_storeu_si512(out, _mm512_popcnt_epi32(_mm512_loadu_si512(values)));
}
TESSERA_TARGET_END

TEST(Cpu, ATargetRegionCompilesIntrinsicsOfItsLevel) {
  if (PickCpuLevel(nullptr) < CpuLevel::kAvx2) GTEST_SKIP() << "needs another CPU";
  const float values[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(SumOfEight(values), 36.0F);
}

TEST(Cpu, ATargetRegionCompilesForAvx512) {
  if (PickCpuLevel(nullptr) < CpuLevel::kAvx512) GTEST_SKIP() << "needs another CPU";
  int values[16];
  for (int i = 0; i < 16; ++i) values[i] = (1 << i) - 1;
  int counts[16];
  CountBits(values, counts);
  for (int i = 0; i < 16; ++i) EXPECT_EQ(counts[i], i);
}

#endif

}  // namespace
}  // namespace tessera::base
