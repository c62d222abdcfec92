#include "base/float16.h"

#include <bit>

namespace tessera::base {

uint16_t F32ToF16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000U;
  const uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) {  // NaN: keep the top of its payload, make it quiet
    return static_cast<uint16_t>(sign | 0x7E00U | ((magnitude >> 13) & 0x3FFU));
  }
  if (magnitude >= 0x47800000U) return static_cast<uint16_t>(sign | 0x7C00U);  // >= 65536
  const uint32_t exponent = magnitude >> 23;
  if (exponent >=
      113) {  // normal in binary16; a carry out of the mantissa ends in infinity rightly
    const uint32_t rebased = magnitude - (112U << 23);
    const uint32_t rounded = rebased + 0xFFFU + ((rebased >> 13) & 1U);
    return static_cast<uint16_t>(sign | (rounded >> 13));
  }
  if (exponent < 102) return static_cast<uint16_t>(sign);  // below half of the least subnormal
  const uint32_t mantissa = (magnitude & 0x7FFFFFU) | 0x800000U;
  const uint32_t shift = 126 - exponent;  // 14 .. 24
  const uint32_t half = uint32_t{1} << (shift - 1);
  const uint32_t rounded = mantissa + half - 1U + ((mantissa >> shift) & 1U);
  return static_cast<uint16_t>(sign | (rounded >> shift));
}

float F16ToF32(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000U) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1FU;
  const uint32_t mantissa = bits & 0x3FFU;
  if (exponent == 0x1F) {
    const uint32_t quiet = mantissa == 0 ? 0 : 0x400000U;
    return std::bit_cast<float>(sign | 0x7F800000U | quiet | (mantissa << 13));
  }
  if (exponent != 0) {
    return std::bit_cast<float>(sign | ((exponent + 112U) << 23) | (mantissa << 13));
  }
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
  return sign == 0 ? magnitude : -magnitude;
}

}  // namespace tessera::base
