// Telling vector formats by their first bytes.
#include <algorithm>

#include "api/formats/vector_formats.h"
#include "base/check.h"
#include "base/coding/coding.h"

namespace tessera::api {
namespace {

uint32_t U32At(std::string_view bytes, size_t at) {
  return base::LoadU32(reinterpret_cast<const std::byte*>(bytes.data()) + at);
}

bool IsDim(uint64_t dim) {
  return dim >= 1 && dim <= base::kDimMax;
}

// The size is the only proof, so there must be one.
bool LooksLikeBin(std::string_view begin, std::optional<uint64_t> size, uint64_t element_bytes) {
  if (begin.size() < 8 || !size.has_value()) return false;
  const uint64_t rows = U32At(begin, 0);
  const uint64_t dim = U32At(begin, 4);
  return rows > 0 && IsDim(dim) && *size == 8 + rows * dim * element_bytes;
}

// Every row begins with the same dimension; one row alone must be the whole input.
bool LooksLikeVecs(std::string_view begin, std::optional<uint64_t> size, uint64_t element_bytes) {
  if (begin.size() < 4) return false;
  const uint32_t dim = U32At(begin, 0);
  const uint64_t row_bytes = 4 + dim * element_bytes;
  if (!IsDim(dim) || (size.has_value() && *size % row_bytes != 0)) return false;
  size_t rows = 1;
  for (size_t at = row_bytes; at + 4 <= begin.size(); at += row_bytes, ++rows) {
    if (U32At(begin, at) != dim) return false;
  }
  return rows > 1 || size == row_bytes;
}

bool LooksLikeIdx(std::string_view begin, std::optional<uint64_t> size) {
  if (begin.size() < 12 || begin[0] != 0 || begin[1] != 0) return false;
  const auto dimensions = static_cast<uint8_t>(begin[3]);
  if (dimensions < 2 || dimensions > 8 || begin.size() < 4 + 4 * size_t{dimensions}) return false;
  uint64_t element_bytes = 1;
  if (begin[2] == 0x0D) {
    element_bytes = 4;
  } else if (begin[2] != 0x08 && begin[2] != 0x09) {
    return false;
  }
  uint64_t rows = 0;
  uint64_t dim = 1;
  for (size_t i = 0; i < dimensions; ++i) {
    uint64_t length = 0;
    for (size_t byte = 0; byte < 4; ++byte) {
      length = length << 8 | static_cast<uint8_t>(begin[4 + 4 * i + byte]);
    }
    (i == 0 ? rows : dim) = i == 0 ? length : std::min(dim * length, uint64_t{1} << 31);
  }
  if (!IsDim(dim)) return false;
  const uint64_t want = 4 + 4 * uint64_t{dimensions} + rows * dim * element_bytes;
  return !size.has_value() || *size == want;
}

}  // namespace

bool LooksLike(std::string_view begin, std::optional<uint64_t> size, VectorFormat format) {
  switch (format) {
    case VectorFormat::kFbin:
      return LooksLikeBin(begin, size, 4);
    case VectorFormat::kF16bin:
      return LooksLikeBin(begin, size, 2);
    case VectorFormat::kU8bin:
    case VectorFormat::kI8bin:
      return LooksLikeBin(begin, size, 1);
    case VectorFormat::kFvecs:
      return LooksLikeVecs(begin, size, 4);
    case VectorFormat::kBvecs:
      return LooksLikeVecs(begin, size, 1);
    case VectorFormat::kIdx:
      return LooksLikeIdx(begin, size);
  }
  TESSERA_FATAL("unknown vector format");
}

}  // namespace tessera::api
