// Readers of vector files: rows of one dimension and element type, in order.
//
// Formats (little-endian unless said otherwise):
//   fbin f16bin u8bin i8bin   u32 rows, u32 dim, then rows x dim elements
//   fvecs bvecs               every row: u32 dim, then dim elements (f32, u8)
//   idx                       MNIST: 0, 0, type, dimension count, big-endian u32 sizes, elements;
//                             the first size is rows, the product of the others is dim
//
// Threads: one reader from one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "api/formats/byte_source.h"
#include "base/types.h"

namespace tessera::api {

enum class VectorFormat { kFbin, kF16bin, kU8bin, kI8bin, kFvecs, kBvecs, kIdx };

class VectorReader {
 public:
  virtual ~VectorReader() = default;

  virtual uint32_t dim() const = 0;
  virtual base::ElementType type() const = 0;
  // Rows in all, where the header or the file's size tells.
  virtual std::optional<uint64_t> rows() const = 0;

  // Appends at most `rows_max` rows to `*out`, row-major, and returns how many; 0 at the end.
  //
  // Errors: kInvalidArgument naming input and row when it is cut off, has bytes after its last row
  //         or a row of another dimension; what the source answers.
  virtual absl::StatusOr<size_t> Read(size_t rows_max, std::string* out) = 0;
};

// "fbin", "fvecs", ... Errors: kInvalidArgument with the list.
absl::StatusOr<VectorFormat> ParseVectorFormat(std::string_view text);

// By the name's ending, ".gz" aside: .fbin ... .bvecs, .idx and MNIST's "-idx3-ubyte".
// Errors: kInvalidArgument asking for the format.
absl::StatusOr<VectorFormat> DetectVectorFormat(std::string_view path);

// By the first bytes, which must be those of one format alone; u8bin and i8bin cannot be told
// apart, nor fbin of unknown size (gzip, a pipe) from noise. Before the first read of `source`.
// Errors: kInvalidArgument asking for the format, or saying what else the input is; what the source
// answers.
absl::StatusOr<VectorFormat> RecognizeVectorFormat(ByteSource& source);

// Reads the header and checks it against the input's size where that is known.
//
// Errors: kInvalidArgument for a header that is cut off or impossible or contradicts the size, and
// for a file of another kind (NumPy, Parquet, ...), naming it.
absl::StatusOr<std::unique_ptr<VectorReader>> NewVectorReader(std::unique_ptr<ByteSource> source,
                                                              VectorFormat format);

// Opens `path` ("-": stdin) as `format`, or as what its name says, or as what it is recognised to
// be.
absl::StatusOr<std::unique_ptr<VectorReader>> OpenVectorFile(const std::string& path,
                                                             std::optional<VectorFormat> format);

}  // namespace tessera::api
