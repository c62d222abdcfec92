#include "index/kernels/fastscan.h"

#include "base/check.h"
#include "index/kernels/pick.h"

namespace tessera::index {

FastScanPlace PlaceOfBit(size_t bit, size_t lines) {
  TESSERA_DCHECK(bit < 8 * lines);
  const size_t triple = bit / 24;
  const size_t lines_here = lines - 3 * triple < 3 ? lines - 3 * triple : 3;
  const size_t rest = bit - 24 * triple;
  FastScanPlace place{};
  if (rest < kFastScanGroupBits * lines_here) {
    place.line = static_cast<uint32_t>(3 * triple + rest / kFastScanGroupBits);
    place.bit = static_cast<uint32_t>(rest % kFastScanGroupBits);
    place.lookup = static_cast<uint32_t>(4 * triple + rest / kFastScanGroupBits);
    place.position = place.bit;
  } else {
    const size_t high = rest - kFastScanGroupBits * lines_here;
    place.line = static_cast<uint32_t>(3 * triple + high / 2);
    place.bit = static_cast<uint32_t>(6 + high % 2);
    place.lookup = static_cast<uint32_t>(4 * triple + lines_here);
    place.position = static_cast<uint32_t>(high);
  }
  return place;
}

const FastScanKernels& FastScanFor(base::CpuLevel level) {
  return PickKernels(level, kFastScanScalar, kFastScanAvx2, kFastScanAvx512);
}

const FastScanKernels& ActiveFastScan() {
  static const FastScanKernels& active = FastScanFor(base::ActiveCpuLevel());
  return active;
}

}  // namespace tessera::index
