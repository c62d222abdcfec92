#include "base/cpu.h"

#include <cstdlib>

#include "absl/strings/str_cat.h"

#include "base/check.h"

namespace tessera::base {
namespace {

// __builtin_cpu_supports asks the operating system too, whether it saves the registers.
bool RunsHere(CpuLevel level) {
  switch (level) {
    case CpuLevel::kScalar:
      return true;
#if defined(__x86_64__)
    case CpuLevel::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi") &&
             __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
    case CpuLevel::kAvx512:
      return RunsHere(CpuLevel::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
             __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vpopcntdq");
#endif
    default:
      return false;
  }
}

}  // namespace

std::string_view ToString(CpuLevel level) {
  switch (level) {
    case CpuLevel::kScalar:
      return "scalar";
    case CpuLevel::kAvx2:
      return "avx2";
    case CpuLevel::kAvx512:
      return "avx512";
  }
  return "unknown";
}

std::vector<CpuLevel> SupportedCpuLevels() {
  std::vector<CpuLevel> levels;
  for (const CpuLevel level : {CpuLevel::kScalar, CpuLevel::kAvx2, CpuLevel::kAvx512}) {
    if (RunsHere(level)) levels.push_back(level);
  }
  return levels;
}

CpuLevel PickCpuLevel(const char* forced) {
  const std::vector<CpuLevel> levels = SupportedCpuLevels();
  if (forced == nullptr) return levels.back();
  for (const CpuLevel level : levels) {
    if (ToString(level) == forced) return level;
  }
  TESSERA_FATAL(absl::StrCat("TESSERA_CPU=", forced, " is unknown or cannot run on this machine"));
}

CpuLevel ActiveCpuLevel() {
  static const CpuLevel active = PickCpuLevel(std::getenv("TESSERA_CPU"));
  return active;
}

}  // namespace tessera::base
