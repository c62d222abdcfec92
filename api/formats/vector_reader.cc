#include "api/formats/vector_reader.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "api/formats/vector_formats.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::api {
namespace {

using base::ElementType;

struct FormatName {
  std::string_view name;
  VectorFormat format;
};

constexpr FormatName kFormats[] = {
    {"fbin", VectorFormat::kFbin},   {"f16bin", VectorFormat::kF16bin},
    {"u8bin", VectorFormat::kU8bin}, {"i8bin", VectorFormat::kI8bin},
    {"fvecs", VectorFormat::kFvecs}, {"bvecs", VectorFormat::kBvecs},
    {"idx", VectorFormat::kIdx},
};

constexpr char kFormatList[] = "fbin, f16bin, u8bin, i8bin, fvecs, bvecs or idx";

}  // namespace

absl::StatusOr<VectorFormat> ParseVectorFormat(std::string_view text) {
  for (const FormatName& entry : kFormats) {
    if (entry.name == text) return entry.format;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("vector format is \"", base::Sv(text), "\", must be ", kFormatList));
}

absl::StatusOr<VectorFormat> DetectVectorFormat(std::string_view path) {
  std::string_view name = path;
  if (name.ends_with(".gz")) name.remove_suffix(3);
  for (const FormatName& entry : kFormats) {
    if (name.size() > entry.name.size() && name.ends_with(entry.name) &&
        name[name.size() - entry.name.size() - 1] == '.') {
      return entry.format;
    }
  }
  for (const std::string_view ending : {"-idx3-ubyte", "-idx2-ubyte", ".idx3-ubyte"}) {
    if (name.ends_with(ending)) return VectorFormat::kIdx;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "the name \"", base::Sv(path), "\" does not tell its format; give --format: ", kFormatList));
}

absl::StatusOr<std::unique_ptr<VectorReader>> NewVectorReader(std::unique_ptr<ByteSource> source,
                                                              VectorFormat format) {
  switch (format) {
    case VectorFormat::kFbin:
      return NewBinReader(std::move(source), ElementType::kF32);
    case VectorFormat::kF16bin:
      return NewBinReader(std::move(source), ElementType::kF16);
    case VectorFormat::kU8bin:
      return NewBinReader(std::move(source), ElementType::kU8);
    case VectorFormat::kI8bin:
      return NewBinReader(std::move(source), ElementType::kI8);
    case VectorFormat::kFvecs:
      return NewVecsReader(std::move(source), ElementType::kF32);
    case VectorFormat::kBvecs:
      return NewVecsReader(std::move(source), ElementType::kU8);
    case VectorFormat::kIdx:
      return NewIdxReader(std::move(source));
  }
  TESSERA_FATAL("unknown vector format");
}

absl::StatusOr<std::unique_ptr<VectorReader>> OpenVectorFile(const std::string& path,
                                                             std::optional<VectorFormat> format) {
  if (!format.has_value()) {
    TESSERA_ASSIGN_OR_RETURN(format, DetectVectorFormat(path));
  }
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, OpenByteSource(path));
  return NewVectorReader(std::move(source), *format);
}

}  // namespace tessera::api
