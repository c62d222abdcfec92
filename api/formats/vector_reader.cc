#include "api/formats/vector_reader.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "api/formats/file_kind.h"
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

absl::Status TextError(const std::string& name, std::string_view begin) {
  if (IsJsonLines(begin)) {
    return absl::InvalidArgumentError(absl::StrCat(
        name,
        ": is JSON lines; ingest reads whole points from them (as its FILE, with --format "
        "jsonl), vectors alone are read from ",
        kFormatList));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      name,
      ": is text, perhaps CSV with the vectors in a column; write its rows as JSON lines, "
      "{\"id\":..,\"vector\":[..],\"payload\":{..}}, in Python: for r in "
      "csv.DictReader(open(FILE)): print(json.dumps({**r, \"id\": int(r[\"id\"]), \"vector\": "
      "json.loads(r[COLUMN])}))"));
}

// A file whose size is what its header says is what it is said to be, whatever its row count
// spells.
absl::Status RefuseOtherFiles(ByteSource& source, VectorFormat format) {
  TESSERA_ASSIGN_OR_RETURN(const std::string_view begin, source.Begin());
  if (source.size().has_value() && LooksLike(begin, source.size(), format)) return absl::OkStatus();
  TESSERA_RETURN_IF_ERROR(RefuseForeignKind(source));
  if (!IsText(begin)) return absl::OkStatus();
  return TextError(source.name(), begin);
}

}  // namespace

absl::StatusOr<VectorFormat> RecognizeVectorFormat(ByteSource& source) {
  TESSERA_ASSIGN_OR_RETURN(const std::string_view begin, source.Begin());
  std::string candidates;
  std::vector<VectorFormat> found;
  for (const FormatName& entry : kFormats) {
    if (!LooksLike(begin, source.size(), entry.format)) continue;
    absl::StrAppend(&candidates, candidates.empty() ? "" : " or ", base::Sv(entry.name));
    found.push_back(entry.format);
  }
  if (found.size() == 1) return found.front();
  TESSERA_RETURN_IF_ERROR(RefuseForeignKind(source));
  if (IsText(begin)) return TextError(source.name(), begin);
  return absl::InvalidArgumentError(
      absl::StrCat(source.name(), ": neither its name nor its first bytes tell its format",
                   candidates.empty() ? "" : absl::StrCat(", which may be ", candidates),
                   "; give --format: ", kFormatList));
}

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
  TESSERA_RETURN_IF_ERROR(RefuseOtherFiles(*source, format));
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
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, OpenByteSource(path));
  if (!format.has_value()) {
    if (const absl::StatusOr<VectorFormat> named = DetectVectorFormat(path); named.ok()) {
      format = *named;
    } else {
      TESSERA_ASSIGN_OR_RETURN(format, RecognizeVectorFormat(*source));
    }
  }
  return NewVectorReader(std::move(source), *format);
}

}  // namespace tessera::api
