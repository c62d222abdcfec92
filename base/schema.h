// What a collection is made of: its vector fields and their settings.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/types.h"

namespace tessera::base {

inline constexpr size_t kCollectionNameBytesMax = 255;
inline constexpr size_t kVectorFieldsMax = 16;

// The unnamed default vector field has the name "".
struct VectorFieldSchema {
  std::string name;
  uint32_t dim = 0;  // 1 .. kDimMax
  Metric metric = Metric::kCosine;
  ElementType type = ElementType::kF32;
  friend bool operator==(const VectorFieldSchema&, const VectorFieldSchema&) = default;
};

// Of one vector of the field: dim elements of its type.
constexpr size_t VectorBytes(const VectorFieldSchema& field) {
  return field.dim * ElementBytes(field.type);
}

struct CollectionSchema {
  std::string name;  // [A-Za-z0-9_.-], not starting with '.', 1 .. kCollectionNameBytesMax
  std::vector<VectorFieldSchema> vectors;
  friend bool operator==(const CollectionSchema&, const CollectionSchema&) = default;
};

// Of the vectors of one point, all fields together.
size_t VectorBytes(const CollectionSchema& schema);

// Errors: kInvalidArgument naming the field, its value and its range.
absl::Status Validate(const CollectionSchema& schema);

// Versioned bytes for the catalog. Decode errors: kDataLoss; kUnimplemented for a newer version.
std::string EncodeSchema(const CollectionSchema& schema);
absl::StatusOr<CollectionSchema> DecodeSchema(std::string_view bytes);

}  // namespace tessera::base
