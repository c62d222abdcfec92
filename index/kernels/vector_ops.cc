#include "index/kernels/vector_ops.h"

namespace tessera::index {

const VectorOps& VectorOpsFor(base::CpuLevel level) {
  switch (level) {
    case base::CpuLevel::kAvx512:
      return kVectorOpsAvx512;
    case base::CpuLevel::kAvx2:
      return kVectorOpsAvx2;
    case base::CpuLevel::kScalar:
      break;
  }
  return kVectorOpsScalar;
}

const VectorOps& ActiveVectorOps() {
  static const VectorOps& active = VectorOpsFor(base::ActiveCpuLevel());
  return active;
}

}  // namespace tessera::index
