#include "index/kernels/codec_kernels.h"

namespace tessera::index {

const CodecKernels& CodecKernelsFor(base::CpuLevel level) {
  switch (level) {
    case base::CpuLevel::kAvx512:
      return kCodecKernelsAvx512;
    case base::CpuLevel::kAvx2:
      return kCodecKernelsAvx2;
    case base::CpuLevel::kScalar:
      break;
  }
  return kCodecKernelsScalar;
}

const CodecKernels& ActiveCodecKernels() {
  static const CodecKernels& active = CodecKernelsFor(base::ActiveCpuLevel());
  return active;
}

}  // namespace tessera::index
