#include "api/cli/point_source.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

#include "api/formats/element_convert.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "index/distance.h"

namespace tessera::api {
namespace {

using base::Sv;

constexpr size_t kBlockBytes = size_t{256} << 10;

std::string InputName(const std::string& path) {
  return path == "-" ? "stdin" : path;
}

std::string FieldLabel(const base::VectorFieldSchema& field) {
  return field.name.empty() ? std::string("the default vector")
                            : absl::StrCat("vector \"", field.name, "\"");
}

// Every element finite, and their squares' sum within bounds: what the database asks of a vector.
absl::Status CheckFinite(std::string_view elements, base::ElementType type) {
  if (base::ElementBytes(type) == 1) return absl::OkStatus();
  const std::vector<float> values = ToFloats(elements, type);
  double squared = 0;
  for (const float value : values) squared += double{value} * value;
  if (squared <= index::kNorm2Max) return absl::OkStatus();
  const size_t at = FirstNotFinite(elements, type);
  if (at < values.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("component ", at, " is ", values[at], ", must be finite"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("its squared length is ", squared, ", must be at most ", index::kNorm2Max));
}

// The id in a payload's value: a number or a text.
absl::StatusOr<base::PointId> IdOfValue(const std::string& key, const base::Value& value) {
  if (value.string() != nullptr) return base::PointId::Parse(*value.string());
  if (value.integer() != nullptr && *value.integer() >= 0) {
    return base::PointId(static_cast<uint64_t>(*value.integer()));
  }
  return absl::InvalidArgumentError(absl::StrCat("its id \"", key, "\" is ", value.ToJson(),
                                                 ", must be a whole number from 0 on or a string"));
}

}  // namespace

FilePointSource::FilePointSource(base::CollectionSchema schema, PointSourceOptions options)
    : schema_(std::move(schema)), options_(std::move(options)) {}

absl::StatusOr<std::unique_ptr<FilePointSource>> FilePointSource::Open(
    const base::CollectionSchema& schema, PointSourceOptions options) {
  std::unique_ptr<FilePointSource> source(new FilePointSource(schema, std::move(options)));
  for (const base::VectorFieldSchema& field : schema.vectors) {
    const std::vector<VectorInput>& inputs = source->options_.vectors;
    const auto input = std::find_if(inputs.begin(), inputs.end(),
                                    [&](const auto& one) { return one.field == field.name; });
    if (input == inputs.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("no file is given for ", FieldLabel(field), " of collection ", schema.name));
    }
    TESSERA_RETURN_IF_ERROR(source->OpenColumn(*input, field));
  }
  const PointSourceOptions& opened = source->options_;
  if (!opened.payload_path.empty()) {
    TESSERA_ASSIGN_OR_RETURN(source->payload_,
                             OpenPayloadFile(opened.payload_path, opened.payload_format));
  }
  if (!opened.ids_path.empty()) {
    TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> ids, OpenByteSource(opened.ids_path));
    source->ids_ = std::make_unique<LineReader>(std::move(ids));
  }
  return source;
}

absl::Status FilePointSource::OpenColumn(const VectorInput& input,
                                         const base::VectorFieldSchema& field) {
  Column column;
  column.field = field;
  column.name = InputName(input.path);
  TESSERA_ASSIGN_OR_RETURN(column.reader, OpenVectorFile(input.path, input.format));
  if (column.reader->dim() != field.dim) {
    return absl::InvalidArgumentError(
        absl::StrCat(column.name, ": its rows have dimension ", column.reader->dim(), ", ",
                     FieldLabel(field), " of collection ", schema_.name, " has ", field.dim));
  }
  const std::optional<uint64_t> rows = column.reader->rows();
  if (rows_.has_value() && rows.has_value() && *rows != *rows_) {
    return absl::InvalidArgumentError(absl::StrCat(column.name, ": has ", *rows, " rows, ",
                                                   columns_.front().name, " has ", *rows_));
  }
  if (rows.has_value()) rows_ = rows;
  columns_.push_back(std::move(column));
  return absl::OkStatus();
}

absl::Status FilePointSource::ReadVectors(Row* row, size_t* ended) {
  row->vectors.clear();
  for (Column& column : columns_) {
    const size_t row_bytes = column.field.dim * base::ElementBytes(column.reader->type());
    if (column.block_begin == column.block.size() && !column.ended) {
      column.block.clear();
      column.block_begin = 0;
      TESSERA_ASSIGN_OR_RETURN(
          const size_t got,
          column.reader->Read(std::max<size_t>(1, kBlockBytes / row_bytes), &column.block));
      column.ended = got == 0;
    }
    if (column.block_begin == column.block.size()) {
      ++*ended;
      row->vectors.emplace_back();
      continue;
    }
    row->vectors.push_back(std::string_view(column.block).substr(column.block_begin, row_bytes));
    column.block_begin += row_bytes;
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> FilePointSource::ReadRow(Row* row) {
  size_t inputs = columns_.size();
  size_t ended = 0;
  TESSERA_RETURN_IF_ERROR(ReadVectors(row, &ended));
  bool payload_ended = false;
  if (payload_ != nullptr) {
    TESSERA_ASSIGN_OR_RETURN(const bool more, payload_->Next(&row->payload));
    payload_ended = !more;
    ++inputs;
    if (!more) ++ended;
  }
  bool ids_ended = false;
  if (ids_ != nullptr) {
    TESSERA_ASSIGN_OR_RETURN(const bool more, ids_->Next(&row->id));
    ids_ended = !more;
    ++inputs;
    if (!more) ++ended;
  }
  if (ended == inputs) return false;
  if (ended == 0) return true;
  std::string shorter;
  std::string longer;
  for (const Column& column : columns_) (column.ended ? shorter : longer) = column.name;
  if (payload_ != nullptr) (payload_ended ? shorter : longer) = payload_->name();
  if (ids_ != nullptr) (ids_ended ? shorter : longer) = ids_->name();
  return absl::InvalidArgumentError(absl::StrCat(shorter, ": ends after ", next_row_, " rows, ",
                                                 longer, " has more; inputs are joined by row"));
}

absl::Status FilePointSource::MakeVectors(const Row& row, db::Point* point) const {
  for (size_t i = 0; i < columns_.size(); ++i) {
    const base::VectorFieldSchema& field = columns_[i].field;
    const bool whole_numbers = base::ElementBytes(field.type) == 1;
    db::FieldVector vector{.field = field.name, .bytes = {}};
    absl::Status status = CheckFinite(row.vectors[i], columns_[i].reader->type());
    if (status.ok()) {
      status =
          ConvertElements(row.vectors[i], columns_[i].reader->type(), field.type,
                          whole_numbers ? Conversion::kExact : Conversion::kRound, &vector.bytes);
    }
    if (!status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(columns_[i].name, ": row ", next_row_, ": ", status.message()));
    }
    point->vectors.push_back(std::move(vector));
  }
  return absl::OkStatus();
}

absl::StatusOr<base::PointId> FilePointSource::MakeId(const Row& row) const {
  if (!options_.id_field.empty()) {
    const base::Value::Object* object = row.payload.payload.object();
    const auto found =
        object == nullptr ? base::Value::Object::const_iterator() : object->find(options_.id_field);
    if (object == nullptr || found == object->end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("has no \"", options_.id_field, "\" to be its id"));
    }
    return IdOfValue(options_.id_field, found->second);
  }
  if (ids_ != nullptr) return base::PointId::Parse(row.id);
  return base::PointId(next_row_);
}

absl::Status FilePointSource::MakePoint(Row* row, db::Point* point) const {
  const auto at_line = [&](const std::string& input, uint64_t line, const absl::Status& why) {
    return absl::InvalidArgumentError(
        absl::StrCat(input, ": line ", line, " (row ", next_row_, "): ", why.message()));
  };
  if (payload_ != nullptr) {
    absl::Status status = row->payload.status;
    const size_t bytes = status.ok() ? row->payload.payload.ToJson().size() : 0;
    if (bytes > db::kPayloadBytesMax) {
      status = absl::InvalidArgumentError(absl::StrCat(
          "its payload is ", bytes, " bytes long, at most ", db::kPayloadBytesMax, " are allowed"));
    }
    if (!status.ok()) return at_line(payload_->name(), row->payload.line, status);
  }
  absl::StatusOr<base::PointId> id = MakeId(*row);
  if (!id.ok()) {
    return ids_ != nullptr ? at_line(ids_->name(), ids_->line_number(), id.status())
                           : at_line(payload_->name(), row->payload.line, id.status());
  }
  point->id = *std::move(id);
  TESSERA_RETURN_IF_ERROR(MakeVectors(*row, point));
  if (payload_ != nullptr) point->payload = std::move(row->payload.payload);
  return absl::OkStatus();
}

absl::Status FilePointSource::Next(std::vector<db::Point>* batch) {
  batch->clear();
  absl::flat_hash_set<base::PointId> ids;
  const bool ids_given = ids_ != nullptr || !options_.id_field.empty();
  size_t bytes = 0;
  Row row;
  while (batch->size() < options_.batch_rows_max && bytes < kSourceBatchBytes) {
    TESSERA_ASSIGN_OR_RETURN(const bool more, ReadRow(&row));
    if (!more) break;
    db::Point point;
    absl::Status status = MakePoint(&row, &point);
    if (status.ok() && ids_given && !ids.insert(point.id).second) {
      status = absl::InvalidArgumentError(
          absl::StrCat("row ", next_row_, ": id ", point.id.ToString(), " was given before"));
    }
    ++next_row_;
    if (!status.ok()) {
      if (!options_.skip_bad_rows) return status;
      ++rows_skipped_;
      if (options_.on_bad_row != nullptr) options_.on_bad_row(std::string(status.message()));
      continue;
    }
    for (const db::FieldVector& vector : point.vectors) bytes += vector.bytes.size();
    bytes += sizeof(db::Point);
    batch->push_back(std::move(point));
  }
  return absl::OkStatus();
}

}  // namespace tessera::api
