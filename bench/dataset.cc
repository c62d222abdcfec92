#include "bench/dataset.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>
#include <utility>

#include <zlib.h>

#include "absl/strings/str_cat.h"

#include "base/float16.h"
#include "base/status_macros.h"

namespace tessera::bench {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint64_t kChunkBytes = uint64_t{4} << 20;

uint32_t LoadLittle32(const std::byte* bytes) {
  uint32_t value = 0;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

uint32_t LoadBig32(const std::byte* bytes) {
  return __builtin_bswap32(LoadLittle32(bytes));
}

absl::StatusOr<std::vector<std::byte>> Unpack(const std::string& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return absl::NotFoundError(absl::StrCat("cannot open ", path));
  std::vector<std::byte> bytes;
  std::vector<std::byte> chunk(size_t{1} << 20);
  int got = 0;
  while ((got = gzread(file, chunk.data(), static_cast<unsigned>(chunk.size()))) > 0) {
    bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + got);
  }
  int code = Z_OK;
  const std::string message = got < 0 ? gzerror(file, &code) : "";
  const bool truncated = gzclose_r(file) == Z_BUF_ERROR;
  if (got < 0 || truncated) {
    return absl::DataLossError(
        absl::StrCat(path, ": ", truncated ? "gzip data ends too early" : message));
  }
  return bytes;
}

absl::Status WrongSize(const std::string& path, uint64_t size, uint64_t want) {
  return absl::DataLossError(
      absl::StrCat(path, " has ", size, " bytes, its header asks for ", want));
}

absl::Status CheckDim(const std::string& path, uint64_t dim) {
  if (dim >= 1 && dim <= base::kDimMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": dimension is ", dim, ", must be 1 .. ", base::kDimMax));
}

}  // namespace

absl::StatusOr<std::unique_ptr<VectorFile>> VectorFile::Open(const std::string& path,
                                                             uint64_t rows_max) {
  std::unique_ptr<VectorFile> file(new VectorFile);
  file->path_ = path;
  std::string name = path;
  if (name.ends_with(".gz")) {
    name.resize(name.size() - 3);
    TESSERA_ASSIGN_OR_RETURN(file->memory_, Unpack(path));
    file->size_ = file->memory_.size();
  } else {
    TESSERA_ASSIGN_OR_RETURN(file->file_, base::PosixFileSystem().OpenForRead(path, {}));
    TESSERA_ASSIGN_OR_RETURN(file->size_, file->file_->Size());
  }
  TESSERA_RETURN_IF_ERROR(file->ParseHeader(name));
  if (rows_max != 0) file->rows_ = std::min(file->rows_, rows_max);
  return file;
}

absl::Status VectorFile::ParseHeader(const std::string& name) {
  if (name.ends_with(".fbin")) return ParseBin(base::ElementType::kF32);
  if (name.ends_with(".f16bin")) return ParseBin(base::ElementType::kF16);
  if (name.ends_with(".u8bin")) return ParseBin(base::ElementType::kU8);
  if (name.ends_with(".i8bin")) return ParseBin(base::ElementType::kI8);
  if (name.ends_with(".fvecs")) return ParseVecs(base::ElementType::kF32);
  if (name.ends_with(".bvecs")) return ParseVecs(base::ElementType::kU8);
  if (name.ends_with(".idx") || name.ends_with("-ubyte")) return ParseIdx();
  return absl::InvalidArgumentError(
      absl::StrCat(path_,
                   ": unknown suffix, must be .fbin, .f16bin, .u8bin, .i8bin, .fvecs, "
                   ".bvecs, .idx or -ubyte, optionally with .gz"));
}

absl::Status VectorFile::ParseBin(base::ElementType type) {
  std::byte header[8];
  TESSERA_RETURN_IF_ERROR(ReadBytes(0, header));
  type_ = type;
  rows_ = LoadLittle32(header);
  dim_ = LoadLittle32(header + 4);
  data_offset_ = sizeof(header);
  TESSERA_RETURN_IF_ERROR(CheckDim(path_, dim_));
  const uint64_t want = data_offset_ + rows_ * row_bytes();
  return size_ == want ? absl::OkStatus() : WrongSize(path_, size_, want);
}

absl::Status VectorFile::ParseVecs(base::ElementType type) {
  std::byte header[4];
  TESSERA_RETURN_IF_ERROR(ReadBytes(0, header));
  type_ = type;
  dim_ = LoadLittle32(header);
  TESSERA_RETURN_IF_ERROR(CheckDim(path_, dim_));
  row_prefix_ = sizeof(header);
  const uint64_t stride = row_prefix_ + row_bytes();
  rows_ = size_ / stride;
  return size_ % stride == 0 ? absl::OkStatus() : WrongSize(path_, size_, (rows_ + 1) * stride);
}

absl::Status VectorFile::ParseIdx() {
  std::byte magic[4];
  TESSERA_RETURN_IF_ERROR(ReadBytes(0, magic));
  const auto axes = static_cast<uint32_t>(magic[3]);
  if (magic[0] != std::byte{0} || magic[1] != std::byte{0} || magic[2] != std::byte{8} ||
      axes < 2 || axes > 4) {
    return absl::InvalidArgumentError(absl::StrCat(
        path_, ": not an IDX file of unsigned bytes with 2 .. 4 axes, magic number is ",
        LoadBig32(magic)));
  }
  std::vector<std::byte> sizes(size_t{4} * axes);
  TESSERA_RETURN_IF_ERROR(ReadBytes(sizeof(magic), sizes));
  uint64_t dim = 1;
  for (uint32_t axis = 1; axis < axes; ++axis) {
    dim *= LoadBig32(&sizes[size_t{4} * axis]);
    TESSERA_RETURN_IF_ERROR(CheckDim(path_, dim));
  }
  type_ = base::ElementType::kU8;
  rows_ = LoadBig32(sizes.data());
  dim_ = static_cast<uint32_t>(dim);
  data_offset_ = sizeof(magic) + sizes.size();
  const uint64_t want = data_offset_ + rows_ * row_bytes();
  return size_ == want ? absl::OkStatus() : WrongSize(path_, size_, want);
}

absl::Status VectorFile::ReadBytes(uint64_t offset, std::span<std::byte> out) const {
  size_t got = 0;
  if (file_ == nullptr) {
    got = offset >= memory_.size() ? 0 : std::min(out.size(), memory_.size() - offset);
    if (got != 0) std::memcpy(out.data(), memory_.data() + offset, got);
  } else {
    TESSERA_ASSIGN_OR_RETURN(got, file_->Read(offset, out));
  }
  if (got == out.size()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path_, " ends at byte ", offset + got, ", byte ",
                                          offset + out.size(), " is needed"));
}

absl::Status VectorFile::Read(uint64_t first, uint64_t count, std::byte* out) const {
  if (first > rows_ || count > rows_ - first) {
    return absl::OutOfRangeError(
        absl::StrCat("rows ", first, " .. ", first + count, " of ", path_, " which has ", rows_));
  }
  if (count == 0) return absl::OkStatus();
  const uint64_t stride = row_prefix_ + row_bytes();
  if (row_prefix_ == 0) return ReadBytes(data_offset_ + first * stride, {out, count * stride});
  std::vector<std::byte> chunk;
  const uint64_t chunk_rows = std::max<uint64_t>(1, kChunkBytes / stride);
  for (uint64_t done = 0; done < count; done += chunk_rows) {
    const uint64_t rows = std::min(chunk_rows, count - done);
    chunk.resize(rows * stride);
    TESSERA_RETURN_IF_ERROR(ReadBytes((first + done) * stride, chunk));
    for (uint64_t row = 0; row < rows; ++row) {
      const std::byte* record = chunk.data() + row * stride;
      if (LoadLittle32(record) != dim_) {
        return absl::DataLossError(absl::StrCat(path_, ": row ", first + done + row, " has ",
                                                LoadLittle32(record), " components, row 0 has ",
                                                dim_));
      }
      std::memcpy(out + (done + row) * row_bytes(), record + row_prefix_, row_bytes());
    }
  }
  return absl::OkStatus();
}

absl::Status VectorFile::ReadFloats(uint64_t first, uint64_t count, float* out) const {
  std::vector<std::byte> chunk;
  const uint64_t chunk_rows = std::max<uint64_t>(1, kChunkBytes / row_bytes());
  for (uint64_t done = 0; done < count; done += chunk_rows) {
    const uint64_t rows = std::min(chunk_rows, count - done);
    chunk.resize(rows * row_bytes());
    TESSERA_RETURN_IF_ERROR(Read(first + done, rows, chunk.data()));
    ConvertToFloats(type_, chunk.data(), rows * dim_, out + done * dim_);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> ReadAllFloats(const VectorFile& file) {
  std::vector<float> values(file.rows() * file.dim());
  TESSERA_RETURN_IF_ERROR(file.ReadFloats(0, file.rows(), values.data()));
  return values;
}

void ConvertToFloats(base::ElementType type, const std::byte* in, size_t count, float* out) {
  switch (type) {
    case base::ElementType::kF32:
      std::memcpy(out, in, count * sizeof(float));
      return;
    case base::ElementType::kF16:
      for (size_t i = 0; i < count; ++i) {
        uint16_t half = 0;
        std::memcpy(&half, in + 2 * i, sizeof(half));
        out[i] = base::F16ToF32(half);
      }
      return;
    case base::ElementType::kI8:
      for (size_t i = 0; i < count; ++i) {
        out[i] = static_cast<float>(std::to_integer<int8_t>(in[i]));
      }
      return;
    case base::ElementType::kU8:
      for (size_t i = 0; i < count; ++i) {
        out[i] = static_cast<float>(std::to_integer<uint8_t>(in[i]));
      }
      return;
  }
}

}  // namespace tessera::bench
