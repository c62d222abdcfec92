#include <memory>
#include <string>
#include <utility>

#include "api/formats/byte_source.h"
#include "api/formats/payload_reader.h"
#include "api/formats/vector_reader.h"
#include "api/inputs/id_lines.h"
#include "api/inputs/point_rows.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "tests/fuzz/targets.h"

namespace tessera::fuzz {
namespace {

using api::ByteSource;

absl::StatusOr<std::unique_ptr<ByteSource>> SourceOf(std::string_view input) {
  return api::NewMemorySource("input", std::string(input));
}

// Whatever the bytes are, they are the caller's fault, and the message says whose.
absl::Status Checked(absl::Status status) {
  if (status.ok()) return status;
  TESSERA_CHECK(absl::IsInvalidArgument(status));
  TESSERA_CHECK(!status.message().empty());
  return status;
}

absl::Status ReadVectors(std::string_view input, std::optional<api::VectorFormat> format) {
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, SourceOf(input));
  if (!format.has_value()) {
    TESSERA_ASSIGN_OR_RETURN(format, api::RecognizeVectorFormat(*source));
  }
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<api::VectorReader> reader,
                           api::NewVectorReader(std::move(source), *format));
  TESSERA_CHECK(reader->dim() >= 1 && reader->dim() <= base::kDimMax);
  const size_t row_bytes = reader->dim() * base::ElementBytes(reader->type());
  uint64_t rows = 0;
  std::string out;
  for (;;) {
    out.clear();
    TESSERA_ASSIGN_OR_RETURN(const size_t got, reader->Read(1000, &out));
    TESSERA_CHECK(got <= 1000 && out.size() == got * row_bytes);
    rows += got;
    if (got == 0) break;
  }
  TESSERA_CHECK(!reader->rows().has_value() || *reader->rows() == rows);
  return absl::OkStatus();
}

template <api::VectorFormat kFormat>
absl::Status RunVectors(std::string_view input) {
  return Checked(ReadVectors(input, kFormat));
}

absl::Status RunRecognized(std::string_view input) {
  return Checked(ReadVectors(input, std::nullopt));
}

// The first row that is bad counts for golden inputs; the rows behind it are read all the same.
absl::Status ReadPayloads(std::string_view input, api::PayloadFormat format) {
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, SourceOf(input));
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<api::PayloadReader> reader,
                           api::NewPayloadReader(std::move(source), format));
  absl::Status bad;
  api::PayloadRow row;
  uint64_t line = 0;
  for (;;) {
    TESSERA_ASSIGN_OR_RETURN(const bool more, reader->Next(&row));
    if (!more) return bad;
    TESSERA_CHECK(row.line > line);
    line = row.line;
    bad.Update(Checked(row.status));
    if (row.status.ok()) {
      TESSERA_CHECK(row.payload.is_null() || row.payload.object() != nullptr);
      TESSERA_CHECK(base::ParseJson(row.payload.ToJson()).ok());
    }
  }
}

absl::Status RunCsv(std::string_view input) {
  return Checked(ReadPayloads(input, api::PayloadFormat::kCsv));
}

absl::Status RunJsonl(std::string_view input) {
  return Checked(ReadPayloads(input, api::PayloadFormat::kJsonl));
}

absl::Status ReadIds(std::string_view input) {
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, SourceOf(input));
  TESSERA_ASSIGN_OR_RETURN(api::IdLines lines, api::IdLines::New(std::move(source)));
  absl::Status bad;
  absl::Status row_status;
  base::PointId id;
  for (;;) {
    TESSERA_ASSIGN_OR_RETURN(const bool more, lines.Next(&id, &row_status));
    if (!more) return bad;
    bad.Update(Checked(row_status));
    if (!row_status.ok()) continue;
    const absl::StatusOr<base::PointId> again = base::PointId::Parse(id.ToString());
    TESSERA_CHECK(again.ok() && *again == id);
  }
}

absl::Status RunIds(std::string_view input) {
  return Checked(ReadIds(input));
}

absl::Status ReadPoints(std::string_view input) {
  const base::CollectionSchema schema{
      .name = "c",
      .vectors = {{.name = "", .dim = 2}, {.name = "t", .dim = 1, .type = base::ElementType::kU8}}};
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, SourceOf(input));
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<api::PointRows> rows,
                           api::NewPointLines(schema, {}, std::move(source)));
  absl::Status bad;
  for (;;) {
    api::PointRow row;
    TESSERA_ASSIGN_OR_RETURN(const bool more, rows->Next(&row));
    if (!more) return bad;
    bad.Update(Checked(row.status));
    if (!row.status.ok()) continue;
    TESSERA_CHECK(row.point.vectors.size() == 2);
    TESSERA_CHECK(row.point.vectors[0].bytes.size() == 2 * sizeof(float));
    TESSERA_CHECK(row.point.vectors[1].bytes.size() == 1);
  }
}

absl::Status RunPoints(std::string_view input) {
  return Checked(ReadPoints(input));
}

}  // namespace

std::vector<Target> FormatTargets() {
  using api::VectorFormat;
  return {
      {.name = "fbin", .run = RunVectors<VectorFormat::kFbin>},
      {.name = "f16bin", .run = RunVectors<VectorFormat::kF16bin>},
      {.name = "u8bin", .run = RunVectors<VectorFormat::kU8bin>},
      {.name = "i8bin", .run = RunVectors<VectorFormat::kI8bin>},
      {.name = "fvecs", .run = RunVectors<VectorFormat::kFvecs>},
      {.name = "bvecs", .run = RunVectors<VectorFormat::kBvecs>},
      {.name = "idx", .run = RunVectors<VectorFormat::kIdx>},
      {.name = "recognized", .run = RunRecognized},
      {.name = "csv", .run = RunCsv},
      {.name = "jsonl", .run = RunJsonl},
      {.name = "ids", .run = RunIds},
      {.name = "points", .run = RunPoints},
  };
}

}  // namespace tessera::fuzz
