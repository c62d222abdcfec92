#include "index/kernels/codec_kernels.h"

#include "index/kernels/pick.h"

namespace tessera::index {

const CodecKernels& CodecKernelsFor(base::CpuLevel level) {
  return PickKernels(level, kCodecKernelsScalar, kCodecKernelsAvx2, kCodecKernelsAvx512);
}

const CodecKernels& ActiveCodecKernels() {
  static const CodecKernels& active = CodecKernelsFor(base::ActiveCpuLevel());
  return active;
}

}  // namespace tessera::index
