#include "base/elements.h"

#include <bit>
#include <cstdint>
#include <cstring>

#include "base/float16.h"

namespace tessera::base {

void DecodeElements(ElementType type, std::string_view bytes, std::span<float> out) {
  switch (type) {
    case ElementType::kF32:
      std::memcpy(out.data(), bytes.data(), bytes.size());
      return;
    case ElementType::kF16:
      for (size_t i = 0; i < out.size(); ++i) {
        uint16_t half = 0;
        std::memcpy(&half, bytes.data() + 2 * i, sizeof(half));
        out[i] = F16ToF32(half);
      }
      return;
    case ElementType::kI8:
      for (size_t i = 0; i < out.size(); ++i) {
        out[i] = static_cast<float>(std::bit_cast<int8_t>(bytes[i]));
      }
      return;
    case ElementType::kU8:
      for (size_t i = 0; i < out.size(); ++i) {
        out[i] = static_cast<float>(std::bit_cast<uint8_t>(bytes[i]));
      }
      return;
  }
}

}  // namespace tessera::base
