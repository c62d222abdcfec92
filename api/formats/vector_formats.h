// One factory per family of vector formats; vector_reader.h chooses among them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "api/formats/byte_source.h"
#include "api/formats/vector_reader.h"
#include "base/types.h"

namespace tessera::api {

absl::StatusOr<std::unique_ptr<VectorReader>> NewBinReader(std::unique_ptr<ByteSource> source,
                                                           base::ElementType type);
absl::StatusOr<std::unique_ptr<VectorReader>> NewVecsReader(std::unique_ptr<ByteSource> source,
                                                            base::ElementType type);
absl::StatusOr<std::unique_ptr<VectorReader>> NewIdxReader(std::unique_ptr<ByteSource> source);

// Rows stored one after the other behind a header that has been read.
struct DenseLayout {
  uint32_t dim = 0;
  base::ElementType type = base::ElementType::kF32;
  bool big_endian = false;
  uint64_t rows = 0;
  uint64_t header_bytes = 0;
};

// Errors: kInvalidArgument for a dimension outside 1 .. kDimMax or a size that contradicts rows.
absl::StatusOr<std::unique_ptr<VectorReader>> NewDenseReader(std::unique_ptr<ByteSource> source,
                                                             const DenseLayout& layout);

// Whether `begin`, the first bytes of an input of `size` bytes, can be a file of that format with
// at least one row, as far as the two tell; of an unknown size only what repeats itself can be
// told.
bool LooksLike(std::string_view begin, std::optional<uint64_t> size, VectorFormat format);

// kInvalidArgument unless 1 <= dim <= kDimMax.
absl::Status CheckFileDim(const ByteSource& source, int64_t dim);

}  // namespace tessera::api
