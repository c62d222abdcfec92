// The small types several layers speak: metrics, element types, row and list numbers.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"

namespace tessera::base {

// Values are on disk: never renumber.
enum class Metric : uint8_t { kL2 = 1, kInnerProduct = 2, kCosine = 3 };
enum class ElementType : uint8_t { kF32 = 1, kF16 = 2, kI8 = 3, kU8 = 4 };

// "l2", "ip", "cosine"; "f32", "f16", "i8", "u8". Parsing answers kInvalidArgument with the list.
std::string_view ToString(Metric metric);
std::string_view ToString(ElementType type);
absl::StatusOr<Metric> ParseMetric(std::string_view text);
absl::StatusOr<ElementType> ParseElementType(std::string_view text);

constexpr size_t ElementBytes(ElementType type) {
  return type == ElementType::kF32 ? 4 : type == ElementType::kF16 ? 2 : 1;
}

// A point's internal id: identity only, never a location; never reused while anything refers to it.
struct RowId {
  uint64_t value = 0;
  friend auto operator<=>(const RowId&, const RowId&) = default;
};

// A posting list of one (collection, vector field) within one index version.
struct ListId {
  uint32_t value = 0;
  friend auto operator<=>(const ListId&, const ListId&) = default;
};

inline constexpr uint32_t kDimMax = 16384;
// Squared lengths of vectors up to this keep every squared distance, at most the square of both
// lengths together, and every inner product within f32, with room for rounding.
inline constexpr double kNorm2Max = 8e37;
inline constexpr uint32_t kLimitMax = 10000;

}  // namespace tessera::base
