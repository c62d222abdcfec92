// Points whose parts are in several files: vectors, payloads and ids joined by row.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "api/formats/payload_reader.h"
#include "api/formats/vector_reader.h"
#include "api/inputs/id_lines.h"
#include "api/inputs/point_rows.h"
#include "base/status_macros.h"

namespace tessera::api {
namespace {

constexpr size_t kBlockBytes = size_t{256} << 10;

std::string InputName(const std::string& path) {
  return path == "-" ? "stdin" : path;
}

class JoinedRows : public PointRows {
 public:
  static absl::StatusOr<std::unique_ptr<JoinedRows>> Open(const base::CollectionSchema& schema,
                                                          const PointSourceOptions& options);

  absl::StatusOr<bool> Next(PointRow* row) override;
  std::optional<uint64_t> rows() const override { return rows_; }

 private:
  struct Column {
    base::VectorFieldSchema field;
    std::string name;  // of the input
    std::unique_ptr<VectorReader> reader;
    std::string block;  // rows read and not yet used, as the file has them
    size_t block_begin = 0;
    bool ended = false;
  };

  JoinedRows(base::CollectionSchema schema, std::string id_field)
      : schema_(std::move(schema)), id_field_(std::move(id_field)) {}
  absl::Status OpenColumn(const VectorInput& input, const base::VectorFieldSchema& field);

  // One row of every input.
  struct Row {
    std::vector<std::string_view> vectors;
    PayloadRow payload;
    base::PointId id;  // where there is an ids file
    absl::Status id_status;
  };
  absl::StatusOr<bool> ReadRow(Row* row);
  absl::Status ReadVectors(Row* row, size_t* ended);
  // Errors: kInvalidArgument: the row is bad, and why.
  absl::Status MakePoint(PointRow* out);
  absl::Status MakeVectors(const Row& row, db::Point* point) const;
  absl::StatusOr<base::PointId> MakeId(const Row& row) const;

  const base::CollectionSchema schema_;
  const std::string id_field_;
  std::vector<Column> columns_;
  std::unique_ptr<PayloadReader> payload_;
  std::optional<IdLines> ids_;
  std::optional<uint64_t> rows_;
  uint64_t next_row_ = 0;
  Row row_;
};

absl::StatusOr<std::unique_ptr<JoinedRows>> JoinedRows::Open(const base::CollectionSchema& schema,
                                                             const PointSourceOptions& options) {
  std::unique_ptr<JoinedRows> source(new JoinedRows(schema, options.id_field));
  for (const base::VectorFieldSchema& field : schema.vectors) {
    const std::vector<VectorInput>& inputs = options.vectors;
    const auto input = std::find_if(inputs.begin(), inputs.end(),
                                    [&](const auto& one) { return one.field == field.name; });
    if (input == inputs.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("no file is given for ", FieldLabel(field), " of collection ", schema.name));
    }
    TESSERA_RETURN_IF_ERROR(source->OpenColumn(*input, field));
  }
  if (!options.payload_path.empty()) {
    TESSERA_ASSIGN_OR_RETURN(source->payload_,
                             OpenPayloadFile(options.payload_path, options.payload_format));
  }
  if (!options.ids_path.empty()) {
    TESSERA_ASSIGN_OR_RETURN(source->ids_, IdLines::Open(options.ids_path));
  }
  return source;
}

absl::Status JoinedRows::OpenColumn(const VectorInput& input,
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

absl::Status JoinedRows::ReadVectors(Row* row, size_t* ended) {
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

absl::StatusOr<bool> JoinedRows::ReadRow(Row* row) {
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
  if (ids_.has_value()) {
    TESSERA_ASSIGN_OR_RETURN(const bool more, ids_->Next(&row->id, &row->id_status));
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
  if (ids_.has_value()) (ids_ended ? shorter : longer) = ids_->name();
  return absl::InvalidArgumentError(absl::StrCat(shorter, ": ends after ", next_row_, " rows, ",
                                                 longer, " has more; inputs are joined by row"));
}

absl::Status JoinedRows::MakeVectors(const Row& row, db::Point* point) const {
  for (size_t i = 0; i < columns_.size(); ++i) {
    absl::StatusOr<db::FieldVector> vector =
        MakeFieldVector(row.vectors[i], columns_[i].reader->type(), columns_[i].field);
    if (!vector.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(columns_[i].name, ": row ", next_row_, ": ", vector.status().message()));
    }
    point->vectors.push_back(*std::move(vector));
  }
  return absl::OkStatus();
}

absl::StatusOr<base::PointId> JoinedRows::MakeId(const Row& row) const {
  if (!id_field_.empty()) {
    const base::Value::Object* object = row.payload.payload.object();
    const auto found =
        object == nullptr ? base::Value::Object::const_iterator() : object->find(id_field_);
    if (object == nullptr || found == object->end()) {
      return absl::InvalidArgumentError(absl::StrCat("has no \"", id_field_, "\" to be its id"));
    }
    // Quotes in CSV tell nothing about types: there all is text.
    if (!payload_->tells_types() && found->second.string() != nullptr) {
      return base::PointId::Parse(*found->second.string());
    }
    return IdOfJson(id_field_, found->second, row.payload.large_keys.contains(id_field_));
  }
  if (ids_.has_value()) {
    TESSERA_RETURN_IF_ERROR(row.id_status);
    return row.id;
  }
  return base::PointId(next_row_);
}

absl::Status JoinedRows::MakePoint(PointRow* out) {
  PayloadRow& payload = row_.payload;
  const auto at_line = [&](const std::string& input, uint64_t line, const absl::Status& why) {
    return absl::InvalidArgumentError(
        absl::StrCat(input, ": line ", line, " (row ", next_row_, "): ", why.message()));
  };
  if (payload_ != nullptr) {
    if (!payload.status.ok()) return at_line(payload_->name(), payload.line, payload.status);
    const absl::StatusOr<size_t> bytes = CheckedPayloadBytes(payload.payload);
    if (!bytes.ok()) return at_line(payload_->name(), payload.line, bytes.status());
    out->payload_bytes = *bytes;
  }
  absl::StatusOr<base::PointId> id = MakeId(row_);
  if (!id.ok()) {
    return ids_.has_value() ? at_line(ids_->name(), ids_->line_number(), id.status())
                            : at_line(payload_->name(), payload.line, id.status());
  }
  out->point.id = *std::move(id);
  TESSERA_RETURN_IF_ERROR(MakeVectors(row_, &out->point));
  if (payload_ != nullptr) out->point.payload = std::move(payload.payload);
  return absl::OkStatus();
}

absl::StatusOr<bool> JoinedRows::Next(PointRow* row) {
  TESSERA_ASSIGN_OR_RETURN(const bool more, ReadRow(&row_));
  if (!more) return false;
  row->status = MakePoint(row);
  ++next_row_;
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PointRows>> OpenJoinedRows(const base::CollectionSchema& schema,
                                                          const PointSourceOptions& options) {
  return JoinedRows::Open(schema, options);
}

}  // namespace tessera::api
