// MNIST's idx. Source: the description in LeCun, Cortes, Burges, "The MNIST database".
#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"

#include "api/formats/vector_formats.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

constexpr size_t kDimensionsMax = 8;

uint32_t LoadBigEndian32(const std::byte* from) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | std::to_integer<uint32_t>(from[i]);
  return value;
}

absl::Status CutOff(const ByteSource& source) {
  return absl::InvalidArgumentError(absl::StrCat(source.name(), ": cut off in its idx header"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<VectorReader>> NewIdxReader(std::unique_ptr<ByteSource> source) {
  std::array<std::byte, 4> magic{};
  TESSERA_ASSIGN_OR_RETURN(const size_t got, source->Read(magic));
  if (got < magic.size()) return CutOff(*source);
  const auto type_code = std::to_integer<uint32_t>(magic[2]);
  const auto dimensions = std::to_integer<size_t>(magic[3]);
  DenseLayout layout;
  if (type_code == 0x08) {
    layout.type = base::ElementType::kU8;
  } else if (type_code == 0x09) {
    layout.type = base::ElementType::kI8;
  } else if (type_code == 0x0D) {
    layout.type = base::ElementType::kF32;
    layout.big_endian = true;
  }
  const bool type_known = type_code == 0x08 || type_code == 0x09 || type_code == 0x0D;
  if (magic[0] != std::byte{0} || magic[1] != std::byte{0} || !type_known) {
    return absl::InvalidArgumentError(
        absl::StrCat(source->name(), ": wrong magic 0x",
                     absl::Hex(LoadBigEndian32(magic.data()), absl::kZeroPad8),
                     ", idx begins 0x0000 and a type: 08 (u8), 09 (i8), 0D (f32)"));
  }
  if (dimensions < 2 || dimensions > kDimensionsMax) {
    return absl::InvalidArgumentError(absl::StrCat(source->name(), ": idx with ", dimensions,
                                                   " dimensions, vectors have 2 .. ",
                                                   kDimensionsMax));
  }
  uint64_t dim = 1;
  for (size_t i = 0; i < dimensions; ++i) {
    std::array<std::byte, 4> bytes{};
    TESSERA_ASSIGN_OR_RETURN(const size_t size_got, source->Read(bytes));
    if (size_got < bytes.size()) return CutOff(*source);
    const uint32_t size = LoadBigEndian32(bytes.data());
    if (i == 0) {
      layout.rows = size;
    } else {
      dim = std::min(dim * size, uint64_t{1} << 31);  // no overflow; far over kDimMax already
    }
  }
  TESSERA_RETURN_IF_ERROR(CheckFileDim(*source, static_cast<int64_t>(dim)));
  layout.dim = static_cast<uint32_t>(dim);
  layout.header_bytes = 4 + 4 * dimensions;
  return NewDenseReader(std::move(source), layout);
}

}  // namespace tessera::api
