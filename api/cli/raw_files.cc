#include "api/cli/raw_files.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

#include "api/cli/commands.h"
#include "api/cli/json_line.h"
#include "api/formats/vector_reader.h"
#include "base/coding/coding.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace tessera::api {
namespace {

struct TypeFormat {
  VectorFormat format;
  std::string_view name;
};

TypeFormat FormatOf(base::ElementType type) {
  switch (type) {
    case base::ElementType::kF16:
      return {VectorFormat::kF16bin, "f16bin"};
    case base::ElementType::kU8:
      return {VectorFormat::kU8bin, "u8bin"};
    case base::ElementType::kI8:
      return {VectorFormat::kI8bin, "i8bin"};
    case base::ElementType::kF32:
      break;
  }
  return {VectorFormat::kFbin, "fbin"};
}

// What a line of an ids file cannot hold, since ingest reads it otherwise.
bool FitsLine(const std::string& id) {
  return id.find('\n') == std::string::npos && !id.ends_with('\r') &&
         !id.starts_with("\xEF\xBB\xBF");
}

}  // namespace

absl::StatusOr<std::unique_ptr<RawFiles>> RawFiles::Create(const base::CollectionSchema& schema,
                                                           const RawFileOptions& options) {
  std::unique_ptr<RawFiles> files(new RawFiles());
  for (const std::string& text : options.vectors) {
    TESSERA_RETURN_IF_ERROR(files->AddColumn(schema, text));
  }
  if (!options.ids.empty()) {
    TESSERA_ASSIGN_OR_RETURN(files->ids_, OutputFile::Create(options.ids));
  }
  if (!options.payload.empty()) {
    TESSERA_ASSIGN_OR_RETURN(files->payload_, OutputFile::Create(options.payload));
  }
  return files;
}

absl::Status RawFiles::AddColumn(const base::CollectionSchema& schema, const std::string& text) {
  const size_t equals = text.find('=');
  const std::string path = equals == std::string::npos ? text : text.substr(equals + 1);
  std::string name = equals == std::string::npos ? std::string() : text.substr(0, equals);
  if (name.empty() && schema.vectors.size() == 1) name = schema.vectors.front().name;
  const auto field = std::find_if(schema.vectors.begin(), schema.vectors.end(),
                                  [&](const auto& one) { return one.name == name; });
  if (field == schema.vectors.end()) {
    return UsageError(absl::StrCat("--vector is \"", text, "\", but collection ", schema.name,
                                   " has no vector field \"", name, "\""));
  }
  for (const Column& column : columns_) {
    if (column.field == name) {
      return UsageError(absl::StrCat("vector field \"", name, "\" is given to two files"));
    }
  }
  const TypeFormat format = FormatOf(field->type);
  if (const auto named = DetectVectorFormat(path);
      path.ends_with(".gz") || (named.ok() && *named != format.format)) {
    return UsageError(absl::StrCat(path, ": its name says another format than ",
                                   base::Sv(format.name), ", which vectors of ",
                                   base::Sv(base::ToString(field->type)), " are written in"));
  }
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<OutputFile> file, OutputFile::Create(path));
  if (!file->is_regular()) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": is no regular file, and the row count in its header is known only at the end"));
  }
  std::string header;
  base::PutU32(&header, 0);
  base::PutU32(&header, field->dim);
  TESSERA_RETURN_IF_ERROR(file->Write(header));
  columns_.push_back({.field = name, .file = std::move(file)});
  return absl::OkStatus();
}

absl::Status RawFiles::Add(const db::StoredPoint& point) {
  if (rows_ == std::numeric_limits<uint32_t>::max()) {
    return absl::OutOfRangeError("the collection has more points than a file of vectors can count");
  }
  ++rows_;
  for (const Column& column : columns_) {
    for (const db::FieldVector& vector : point.vectors) {
      if (vector.field == column.field) {
        TESSERA_RETURN_IF_ERROR(column.file->Write(vector.bytes));
      }
    }
  }
  if (ids_ != nullptr) {
    const std::string id = point.id.ToString();
    if (!FitsLine(id)) {
      return absl::InvalidArgumentError(absl::StrCat("id ", base::Value(id).ToJson(),
                                                     " does not fit into a line of an ids file; "
                                                     "export JSON lines instead"));
    }
    TESSERA_RETURN_IF_ERROR(ids_->Write(id + "\n"));
  }
  if (payload_ != nullptr) {
    TESSERA_RETURN_IF_ERROR(payload_->Write(JsonPayload(point) + "\n"));
  }
  return absl::OkStatus();
}

absl::Status RawFiles::Commit() {
  std::string rows;
  base::PutU32(&rows, rows_);
  for (const Column& column : columns_) {
    TESSERA_RETURN_IF_ERROR(column.file->WriteAt(0, rows));
    TESSERA_RETURN_IF_ERROR(column.file->Commit());
  }
  if (ids_ != nullptr) TESSERA_RETURN_IF_ERROR(ids_->Commit());
  if (payload_ != nullptr) TESSERA_RETURN_IF_ERROR(payload_->Commit());
  return absl::OkStatus();
}

}  // namespace tessera::api
