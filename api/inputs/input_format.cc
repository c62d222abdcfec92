#include "api/inputs/input_format.h"

#include <filesystem>
#include <memory>
#include <system_error>

#include "absl/strings/str_cat.h"

#include "api/formats/byte_source.h"
#include "api/formats/file_kind.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

// Pipes give their bytes once: looking at them here would take them. A file that is not there is
// missed later.
bool CanLook(const std::string& path) {
  std::error_code ignored;
  return path != "-" && std::filesystem::is_regular_file(path, ignored);
}

bool BeginsAsJsonLines(const std::string& path) {
  const absl::StatusOr<std::unique_ptr<ByteSource>> source = OpenByteSource(path);
  if (!source.ok()) return false;
  const absl::StatusOr<std::string_view> begin = (*source)->Begin();
  return begin.ok() && IsJsonLines(*begin);
}

}  // namespace

absl::StatusOr<VectorFormat> FindVectorFormat(const std::string& path, const std::string& named) {
  if (!named.empty()) return ParseVectorFormat(named);
  absl::StatusOr<VectorFormat> by_name = DetectVectorFormat(path);
  if (by_name.ok() || !CanLook(path)) return by_name;
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> source, OpenByteSource(path));
  return RecognizeVectorFormat(*source);
}

absl::StatusOr<PayloadFormat> FindPayloadFormat(const std::string& path, const std::string& named) {
  if (!named.empty()) return ParsePayloadFormat(named);
  absl::StatusOr<PayloadFormat> by_name = DetectPayloadFormat(path);
  if (by_name.ok() || !CanLook(path)) return by_name;
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> source, OpenByteSource(path));
  TESSERA_RETURN_IF_ERROR(RefuseForeignKind(*source));
  TESSERA_ASSIGN_OR_RETURN(const std::string_view begin, source->Begin());
  if (IsJsonLines(begin)) return PayloadFormat::kJsonl;
  return by_name;
}

bool IsPointLines(const std::string& path, const std::string& named) {
  if (!named.empty()) return named == "jsonl";
  if (const auto by_name = DetectPayloadFormat(path); by_name.ok()) {
    return *by_name == PayloadFormat::kJsonl;
  }
  return !DetectVectorFormat(path).ok() && CanLook(path) && BeginsAsJsonLines(path);
}

}  // namespace tessera::api
