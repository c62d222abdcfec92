#include "index/kernels/head_kernels.h"

namespace tessera::index {

const HeadKernels& HeadKernelsFor(base::CpuLevel level) {
  switch (level) {
    case base::CpuLevel::kAvx512:
      return kHeadKernelsAvx512;
    case base::CpuLevel::kAvx2:
      return kHeadKernelsAvx2;
    case base::CpuLevel::kScalar:
      break;
  }
  return kHeadKernelsScalar;
}

const HeadKernels& ActiveHeadKernels() {
  static const HeadKernels& active = HeadKernelsFor(base::ActiveCpuLevel());
  return active;
}

}  // namespace tessera::index
