#include "api/formats/payload_reader.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "api/formats/file_kind.h"
#include "api/formats/payload_formats.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::api {

absl::StatusOr<PayloadFormat> ParsePayloadFormat(std::string_view text) {
  if (text == "csv") return PayloadFormat::kCsv;
  if (text == "jsonl") return PayloadFormat::kJsonl;
  return absl::InvalidArgumentError(
      absl::StrCat("payload format is \"", base::Sv(text), "\", must be csv or jsonl"));
}

absl::StatusOr<PayloadFormat> DetectPayloadFormat(std::string_view path) {
  std::string_view name = path;
  if (name.ends_with(".gz")) name.remove_suffix(3);
  if (name.ends_with(".csv")) return PayloadFormat::kCsv;
  if (name.ends_with(".jsonl") || name.ends_with(".ndjson")) return PayloadFormat::kJsonl;
  return absl::InvalidArgumentError(
      absl::StrCat("the name \"", base::Sv(path),
                   "\" does not tell its format; give --payload-format: csv or jsonl"));
}

absl::StatusOr<std::unique_ptr<PayloadReader>> NewPayloadReader(std::unique_ptr<ByteSource> source,
                                                                PayloadFormat format) {
  TESSERA_RETURN_IF_ERROR(RefuseForeignKind(*source));
  return format == PayloadFormat::kCsv ? NewCsvReader(std::move(source))
                                       : NewJsonlReader(std::move(source));
}

absl::StatusOr<std::unique_ptr<PayloadReader>> OpenPayloadFile(
    const std::string& path, std::optional<PayloadFormat> format) {
  if (!format.has_value()) {
    TESSERA_ASSIGN_OR_RETURN(format, DetectPayloadFormat(path));
  }
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, OpenByteSource(path));
  return NewPayloadReader(std::move(source), *format);
}

}  // namespace tessera::api
