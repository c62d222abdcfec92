#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

#include "api/formats/vector_formats.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

// Bytes of one step; a huge row count in a header alone must not allocate.
constexpr size_t kReadBytesMax = size_t{4} << 20;

class DenseReader : public VectorReader {
 public:
  DenseReader(std::unique_ptr<ByteSource> source, const DenseLayout& layout)
      : source_(std::move(source)), layout_(layout) {}

  uint32_t dim() const override { return layout_.dim; }
  base::ElementType type() const override { return layout_.type; }
  std::optional<uint64_t> rows() const override { return layout_.rows; }

  absl::StatusOr<size_t> Read(size_t rows_max, std::string* out) override {
    const size_t row_bytes = layout_.dim * base::ElementBytes(layout_.type);
    const uint64_t left = layout_.rows - next_row_;
    if (left == 0) {
      if (rows_max > 0) TESSERA_RETURN_IF_ERROR(ExpectEnd());
      return 0;
    }
    const size_t step_max = std::max<size_t>(1, kReadBytesMax / row_bytes);
    const size_t want = std::min({rows_max, step_max, static_cast<size_t>(left)});
    const size_t old_size = out->size();
    out->resize(old_size + want * row_bytes);
    const std::span<std::byte> target =
        std::as_writable_bytes(std::span<char>(*out)).subspan(old_size);
    absl::StatusOr<size_t> got = source_->Read(target);
    if (!got.ok() || *got < target.size()) {
      out->resize(old_size);
      if (!got.ok()) return got.status();
      return absl::InvalidArgumentError(
          absl::StrCat(source_->name(), ": cut off in row ", next_row_ + *got / row_bytes,
                       ", its header says ", layout_.rows, " rows of ", row_bytes, " bytes"));
    }
    if (layout_.big_endian) SwapBytes(target);
    next_row_ += want;
    return want;
  }

 private:
  void SwapBytes(std::span<std::byte> elements) const {
    const size_t width = base::ElementBytes(layout_.type);
    for (size_t i = 0; i < elements.size(); i += width) {
      std::reverse(elements.begin() + static_cast<std::ptrdiff_t>(i),
                   elements.begin() + static_cast<std::ptrdiff_t>(i + width));
    }
  }

  absl::Status ExpectEnd() {
    if (ended_) return absl::OkStatus();
    std::array<std::byte, 1> extra{};
    TESSERA_ASSIGN_OR_RETURN(const size_t got, source_->Read(extra));
    if (got != 0) {
      return absl::InvalidArgumentError(absl::StrCat(source_->name(), ": has bytes after the ",
                                                     layout_.rows, " rows its header says"));
    }
    ended_ = true;
    return absl::OkStatus();
  }

  std::unique_ptr<ByteSource> source_;
  const DenseLayout layout_;
  uint64_t next_row_ = 0;
  bool ended_ = false;
};

}  // namespace

absl::Status CheckFileDim(const ByteSource& source, int64_t dim) {
  if (dim >= 1 && dim <= base::kDimMax) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(source.name(), ": its header says dimension ", dim,
                                                 ", must be 1 .. ", base::kDimMax));
}

absl::StatusOr<std::unique_ptr<VectorReader>> NewDenseReader(std::unique_ptr<ByteSource> source,
                                                             const DenseLayout& layout) {
  TESSERA_RETURN_IF_ERROR(CheckFileDim(*source, layout.dim));
  const uint64_t row_bytes = uint64_t{layout.dim} * base::ElementBytes(layout.type);
  const uint64_t want = layout.header_bytes + layout.rows * row_bytes;
  if (const std::optional<uint64_t> size = source->size(); size.has_value() && *size != want) {
    return absl::InvalidArgumentError(
        absl::StrCat(source->name(), ": is ", *size, " bytes long, its header says ", layout.rows,
                     " rows x ", layout.dim, " elements = ", want, " bytes"));
  }
  return std::make_unique<DenseReader>(std::move(source), layout);
}

}  // namespace tessera::api
