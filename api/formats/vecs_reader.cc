// fvecs and bvecs: every row begins with its dimension.
#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

#include "api/formats/vector_formats.h"
#include "base/coding/coding.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

class VecsReader : public VectorReader {
 public:
  VecsReader(std::unique_ptr<ByteSource> source, uint32_t dim, base::ElementType type,
             std::optional<uint64_t> rows)
      : source_(std::move(source)), dim_(dim), type_(type), rows_(rows) {}

  uint32_t dim() const override { return dim_; }
  base::ElementType type() const override { return type_; }
  std::optional<uint64_t> rows() const override { return rows_; }

  absl::StatusOr<size_t> Read(size_t rows_max, std::string* out) override {
    size_t count = 0;
    while (count < rows_max) {
      TESSERA_ASSIGN_OR_RETURN(const bool more, ReadRow(out));
      if (!more) break;
      ++count;
    }
    return count;
  }

 private:
  // The first row's dimension was read with the header.
  absl::StatusOr<bool> ReadRow(std::string* out) {
    if (next_row_ > 0) {
      std::array<std::byte, 4> bytes{};
      TESSERA_ASSIGN_OR_RETURN(const size_t got, source_->Read(bytes));
      if (got == 0) return false;
      if (got < bytes.size()) return CutOff();
      const uint32_t dim = base::LoadU32(bytes.data());
      if (dim != dim_) {
        return absl::InvalidArgumentError(absl::StrCat(source_->name(), ": row ", next_row_,
                                                       " has dimension ", static_cast<int32_t>(dim),
                                                       ", row 0 has ", dim_));
      }
    }
    const size_t old_size = out->size();
    const size_t row_bytes = dim_ * base::ElementBytes(type_);
    out->resize(old_size + row_bytes);
    absl::StatusOr<size_t> got =
        source_->Read(std::as_writable_bytes(std::span<char>(*out)).subspan(old_size));
    if (!got.ok() || *got < row_bytes) {
      out->resize(old_size);
      if (!got.ok()) return got.status();
      return CutOff();
    }
    ++next_row_;
    return true;
  }

  absl::Status CutOff() const {
    return absl::InvalidArgumentError(
        absl::StrCat(source_->name(), ": cut off in row ", next_row_));
  }

  std::unique_ptr<ByteSource> source_;
  const uint32_t dim_;
  const base::ElementType type_;
  const std::optional<uint64_t> rows_;
  uint64_t next_row_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<VectorReader>> NewVecsReader(std::unique_ptr<ByteSource> source,
                                                            base::ElementType type) {
  std::array<std::byte, 4> header{};
  TESSERA_ASSIGN_OR_RETURN(const size_t got, source->Read(header));
  if (got < header.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        source->name(), ": cut off in the dimension of row 0: ", got, " bytes of ", header.size()));
  }
  const uint32_t dim = base::LoadU32(header.data());
  // It is a signed number.
  TESSERA_RETURN_IF_ERROR(CheckFileDim(*source, static_cast<int32_t>(dim)));
  std::optional<uint64_t> rows;
  if (const std::optional<uint64_t> size = source->size(); size.has_value()) {
    const uint64_t row_bytes = 4 + uint64_t{dim} * base::ElementBytes(type);
    if (*size % row_bytes != 0) {
      return absl::InvalidArgumentError(absl::StrCat(source->name(), ": is ", *size,
                                                     " bytes long, not a multiple of ", row_bytes,
                                                     ", the bytes of a row of dimension ", dim));
    }
    rows = *size / row_bytes;
  }
  return std::make_unique<VecsReader>(std::move(source), dim, type, rows);
}

}  // namespace tessera::api
