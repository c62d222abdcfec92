#include "version/build/search_rows.h"

#include <cmath>
#include <string_view>

#include "base/elements.h"
#include "base/types.h"
#include "index/raw_plane.h"

namespace tessera::version {

void ToSearchRow(const base::VectorFieldSchema& field, const std::byte* record,
                 std::span<float> row) {
  const auto* vector = reinterpret_cast<const char*>(index::RawVector(record));
  base::DecodeElements(field.type,
                       std::string_view(vector, field.dim * base::ElementBytes(field.type)), row);
  if (field.metric != base::Metric::kCosine) return;
  double norm2 = 0;
  for (const float x : row) norm2 += double{x} * x;
  if (norm2 == 0) return;
  const double scale = 1.0 / std::sqrt(norm2);
  for (float& x : row) x = static_cast<float>(x * scale);
}

}  // namespace tessera::version
