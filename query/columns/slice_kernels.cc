#include "query/columns/slice_kernels.h"

namespace tessera::query {

const SliceKernels& SliceKernelsFor(base::CpuLevel level) {
  switch (level) {
    case base::CpuLevel::kAvx512:
      return kSliceKernelsAvx512;
    case base::CpuLevel::kAvx2:
      return kSliceKernelsAvx2;
    case base::CpuLevel::kScalar:
      break;
  }
  return kSliceKernelsScalar;
}

const SliceKernels& ActiveSliceKernels() {
  static const SliceKernels& active = SliceKernelsFor(base::ActiveCpuLevel());
  return active;
}

}  // namespace tessera::query
