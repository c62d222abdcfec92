#include "index/kernels/vector_ops.h"

#include "index/kernels/pick.h"

namespace tessera::index {

const VectorOps& VectorOpsFor(base::CpuLevel level) {
  return PickKernels(level, kVectorOpsScalar, kVectorOpsAvx2, kVectorOpsAvx512);
}

const VectorOps& ActiveVectorOps() {
  static const VectorOps& active = VectorOpsFor(base::ActiveCpuLevel());
  return active;
}

}  // namespace tessera::index
