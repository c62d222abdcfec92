#include "api/formats/element_convert.h"

#include <cmath>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/float16.h"
#include "base/strings.h"

namespace tessera::api {
namespace {

using base::ElementType;

float LoadElement(const char* from, ElementType type) {
  switch (type) {
    case ElementType::kF32: {
      float value;
      std::memcpy(&value, from, sizeof(value));
      return value;
    }
    case ElementType::kF16: {
      uint16_t bits;
      std::memcpy(&bits, from, sizeof(bits));
      return base::F16ToF32(bits);
    }
    case ElementType::kI8:
      return static_cast<float>(static_cast<int8_t>(*from));
    case ElementType::kU8:
      return static_cast<float>(static_cast<uint8_t>(*from));
  }
  TESSERA_FATAL("unknown element type");
}

// Appends `value` as an integer of one byte; false if it does not fit.
bool AppendInteger(float value, ElementType to, Conversion conversion, std::string* out) {
  const float low = to == ElementType::kI8 ? -128.0F : 0.0F;
  const float high = to == ElementType::kI8 ? 127.0F : 255.0F;
  const float rounded = std::nearbyint(value);
  if (!(rounded >= low && rounded <= high)) return false;  // NaN as well
  if (conversion == Conversion::kExact && rounded != value) return false;
  out->push_back(static_cast<char>(static_cast<int>(rounded)));
  return true;
}

bool AppendHalf(float value, Conversion conversion, std::string* out) {
  const uint16_t bits = base::F32ToF16(value);
  const float back = base::F16ToF32(bits);
  if (std::isfinite(value)) {
    if (!std::isfinite(back)) return false;
    if (conversion == Conversion::kExact && back != value) return false;
  }
  out->append(reinterpret_cast<const char*>(&bits), sizeof(bits));
  return true;
}

bool AppendElement(float value, ElementType to, Conversion conversion, std::string* out) {
  switch (to) {
    case ElementType::kF32:
      out->append(reinterpret_cast<const char*>(&value), sizeof(value));
      return true;
    case ElementType::kF16:
      return AppendHalf(value, conversion, out);
    case ElementType::kI8:
    case ElementType::kU8:
      return AppendInteger(value, to, conversion, out);
  }
  TESSERA_FATAL("unknown element type");
}

}  // namespace

absl::Status ConvertElements(std::string_view elements, ElementType from, ElementType to,
                             Conversion conversion, std::string* out) {
  if (from == to) {
    out->append(elements);
    return absl::OkStatus();
  }
  const size_t old_size = out->size();
  const size_t step = base::ElementBytes(from);
  const size_t count = elements.size() / step;
  out->reserve(old_size + count * base::ElementBytes(to));
  for (size_t i = 0; i < count; ++i) {
    const float value = LoadElement(elements.data() + i * step, from);
    if (AppendElement(value, to, conversion, out)) continue;
    out->resize(old_size);
    return absl::InvalidArgumentError(
        absl::StrCat("element ", i, " is ", value, ", which ", base::Sv(base::ToString(to)),
                     " cannot hold", conversion == Conversion::kExact ? " exactly" : ""));
  }
  return absl::OkStatus();
}

std::vector<float> ToFloats(std::string_view elements, ElementType from) {
  const size_t step = base::ElementBytes(from);
  std::vector<float> values(elements.size() / step);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = LoadElement(elements.data() + i * step, from);
  }
  return values;
}

size_t FirstNotFinite(std::string_view elements, ElementType type) {
  const size_t step = base::ElementBytes(type);
  const size_t count = elements.size() / step;
  if (type == ElementType::kI8 || type == ElementType::kU8) return count;
  for (size_t i = 0; i < count; ++i) {
    if (!std::isfinite(LoadElement(elements.data() + i * step, type))) return i;
  }
  return count;
}

}  // namespace tessera::api
