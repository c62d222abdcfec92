#include "base/types.h"

#include "absl/strings/str_cat.h"

#include "base/strings.h"

namespace tessera::base {

std::string_view ToString(Metric metric) {
  switch (metric) {
    case Metric::kL2:
      return "l2";
    case Metric::kInnerProduct:
      return "ip";
    case Metric::kCosine:
      return "cosine";
  }
  return "unknown";
}

std::string_view ToString(ElementType type) {
  switch (type) {
    case ElementType::kF32:
      return "f32";
    case ElementType::kF16:
      return "f16";
    case ElementType::kI8:
      return "i8";
    case ElementType::kU8:
      return "u8";
  }
  return "unknown";
}

absl::StatusOr<Metric> ParseMetric(std::string_view text) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    if (text == ToString(metric)) return metric;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("metric is \"", Sv(text), "\", must be one of l2, ip, cosine"));
}

absl::StatusOr<ElementType> ParseElementType(std::string_view text) {
  for (const ElementType type :
       {ElementType::kF32, ElementType::kF16, ElementType::kI8, ElementType::kU8}) {
    if (text == ToString(type)) return type;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("element type is \"", Sv(text), "\", must be one of f32, f16, i8, u8"));
}

}  // namespace tessera::base
