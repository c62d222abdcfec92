// Which instruction sets this machine has, and the regions of source compiled for them.
//
// A kernel file includes everything first, opens a region, defines its functions and closes the
// region; the rest of the file, and every other file, is compiled for the plain baseline:
//
//   TESSERA_TARGET_BEGIN("avx2,fma")
//   float DotAvx2(const float* a, const float* b, size_t dim) { ... }
//   TESSERA_TARGET_END
//
// Threads: any.
#pragma once

#include <string_view>
#include <vector>

#define TESSERA_PRAGMA_(text) _Pragma(#text)
#if defined(__clang__)
#define TESSERA_TARGET_BEGIN(features) \
  TESSERA_PRAGMA_(clang attribute push(__attribute__((target(features))), apply_to = function))
#define TESSERA_TARGET_END _Pragma("clang attribute pop")
#else
#define TESSERA_TARGET_BEGIN(features) \
  TESSERA_PRAGMA_(GCC push_options) TESSERA_PRAGMA_(GCC target(features))
#define TESSERA_TARGET_END _Pragma("GCC pop_options")
#endif

// The feature lists of the levels below.
#define TESSERA_AVX2_FEATURES "avx2,fma,f16c,bmi,bmi2,popcnt"
#define TESSERA_AVX512_FEATURES                                                  \
  "avx2,fma,f16c,bmi,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi," \
  "avx512vnni,avx512vpopcntdq"

namespace tessera::base {

// Each level includes the ones before it.
enum class CpuLevel {
  kScalar,
  kAvx2,    // TESSERA_AVX2_FEATURES: Haswell, Zen
  kAvx512,  // TESSERA_AVX512_FEATURES: Ice Lake, Zen 4
};

// "scalar", "avx2", "avx512": the values of TESSERA_CPU.
std::string_view ToString(CpuLevel level);

// What this machine runs, lowest first; never empty.
std::vector<CpuLevel> SupportedCpuLevels();

// The best level of this machine, or the one that the environment variable TESSERA_CPU forces.
// Aborts if that is not a level or cannot run here: falling back would hide a broken test job.
CpuLevel ActiveCpuLevel();

// ActiveCpuLevel without the environment: null forces nothing.
CpuLevel PickCpuLevel(const char* forced);

}  // namespace tessera::base
