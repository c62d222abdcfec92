// What a write must look like before anything of it is applied.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

#include "base/schema.h"
#include "db/database.h"

namespace tessera::db {

// Errors: kInvalidArgument if the size is not dim elements, or a component is NaN or infinite, or
//         the squared length overflows f32.
absl::Status ValidateVector(const base::VectorFieldSchema& field, std::string_view bytes);

// The same rules for a query. Errors: kInvalidArgument.
absl::Status ValidateQuery(const base::VectorFieldSchema& field, std::span<const float> query);

// Position of `name` among the vector fields. Errors: kInvalidArgument listing the fields there
// are.
absl::StatusOr<size_t> FindField(const base::CollectionSchema& schema, std::string_view name);

enum class RepeatedIds { kRefused, kAllowed };

// Checks every point of a batch and brings its vectors into schema order.
// Errors: kInvalidArgument naming the point, as Collection::Upsert says.
absl::Status ValidatePoints(const base::CollectionSchema& schema, RepeatedIds repeated_ids,
                            std::vector<Point>* points);

absl::Status ValidateSearch(const base::CollectionSchema& schema, std::span<const float> query,
                            const SearchParams& params);

}  // namespace tessera::db
