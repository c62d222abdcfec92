#include "index/kernels/pq_scan.h"

namespace tessera::index {

const PqScanKernels& PqScanFor(base::CpuLevel level) {
  switch (level) {
    case base::CpuLevel::kAvx512:
      return kPqScanAvx512;
    case base::CpuLevel::kAvx2:
      return kPqScanAvx2;
    case base::CpuLevel::kScalar:
      break;
  }
  return kPqScanScalar;
}

const PqScanKernels& ActivePqScan() {
  static const PqScanKernels& active = PqScanFor(base::ActiveCpuLevel());
  return active;
}

}  // namespace tessera::index
