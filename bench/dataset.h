// Vector files of the benchmark suite, read in pieces so that no engine needs all rows in memory.
//
// Layouts (little-endian), chosen by the file's suffix:
//   *.fbin *.f16bin *.u8bin *.i8bin   u32 rows, u32 dim, then row-major values
//   *.fvecs *.bvecs                   per row: u32 dim, then dim f32 or u8 values
//   *.idx, *-ubyte                    IDX of unsigned bytes: 0 0 8 n, then n big-endian u32 sizes
// Each also with ".gz", which is unpacked into memory at opening.
//
// Threads: concurrent reads allowed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/files/file_system.h"
#include "base/types.h"

namespace tessera::bench {

class VectorFile {
 public:
  // Uses the first `rows_max` rows only; 0 means all.
  //
  // Errors: kNotFound; kInvalidArgument for an unknown suffix, a wrong magic number or a dimension
  //         outside 1 .. kDimMax; kDataLoss when the size does not fit the header.
  static absl::StatusOr<std::unique_ptr<VectorFile>> Open(const std::string& path,
                                                          uint64_t rows_max = 0);

  const std::string& path() const { return path_; }
  uint64_t rows() const { return rows_; }
  uint32_t dim() const { return dim_; }
  base::ElementType type() const { return type_; }
  size_t row_bytes() const { return dim_ * base::ElementBytes(type_); }

  // Rows [first, first + count) in their own element type, row-major.
  // Shapes: out [count * row_bytes()]. Errors: kOutOfRange; kDataLoss.
  absl::Status Read(uint64_t first, uint64_t count, std::byte* out) const;

  // The same as f32; exact for every element type. Shapes: out [count x dim].
  absl::Status ReadFloats(uint64_t first, uint64_t count, float* out) const;

 private:
  VectorFile() = default;
  absl::Status ReadBytes(uint64_t offset, std::span<std::byte> out) const;
  absl::Status ParseHeader(const std::string& name);
  absl::Status ParseBin(base::ElementType type);
  absl::Status ParseVecs(base::ElementType type);
  absl::Status ParseIdx();

  std::string path_;
  uint64_t rows_ = 0;
  uint32_t dim_ = 0;
  base::ElementType type_ = base::ElementType::kF32;
  uint64_t size_ = 0;
  uint64_t data_offset_ = 0;                      // of row 0
  uint64_t row_prefix_ = 0;                       // bytes before each row's values
  std::unique_ptr<base::RandomAccessFile> file_;  // null when unpacked into memory
  std::vector<std::byte> memory_;
};

// All rows of a small file (queries) as f32, row-major.
absl::StatusOr<std::vector<float>> ReadAllFloats(const VectorFile& file);

// Converts `count` values of `type` to f32.
void ConvertToFloats(base::ElementType type, const std::byte* in, size_t count, float* out);

}  // namespace tessera::bench
