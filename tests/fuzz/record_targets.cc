#include <string>

#include "base/point_id.h"
#include "db/records.h"
#include "tests/fuzz/stored.h"
#include "tests/fuzz/targets.h"

namespace tessera::fuzz {
namespace {

constexpr auto kRewriteCollection = Rewrite<db::DecodeCollectionRecord, db::EncodeCollectionRecord>;
constexpr auto kRewritePoint = Rewrite<db::DecodePointRecord, db::EncodePointRecord>;
constexpr auto kRewriteRow = Rewrite<db::DecodeRow, db::EncodeRow>;

// The schema's checksum ends the record.
absl::Status RunCollection(std::string_view input) {
  const size_t schema_at = sizeof(uint32_t) + 1;  // behind the uid and a length of one byte
  if (input.size() > schema_at) {
    const std::string mended =
        std::string(input.substr(0, schema_at)) + Resealed(input.substr(schema_at));
    RunStored<kRewriteCollection>(mended).IgnoreError();
  }
  return RunStored<kRewriteCollection>(input);
}

std::vector<Sample> Collections() {
  const db::CollectionRecord record{
      .uid = 0x01020304, .schema = {.name = "images", .vectors = {{.name = "clip", .dim = 512}}}};
  return {{"one_field", db::EncodeCollectionRecord(record)}};
}

std::vector<Sample> Points() {
  const db::PointRecord number{.id = base::PointId(uint64_t{7}), .version = 1, .payload_json = ""};
  const db::PointRecord text{.id = base::PointId(std::string("a long name of a point")),
                             .version = uint64_t{1} << 60,
                             .payload_json = R"({"tags":["a","b"],"year":1999})"};
  base::Uuid uuid;
  for (uint8_t i = 0; i < 16; ++i) uuid.bytes[i] = i;
  const db::PointRecord unique{.id = base::PointId(uuid), .version = 2, .payload_json = "{}"};
  return {{"number", db::EncodePointRecord(number)},
          {"string", db::EncodePointRecord(text)},
          {"uuid", db::EncodePointRecord(unique)}};
}

std::vector<Sample> Rows() {
  return {{"row", db::EncodeRow({0x0102030405060708})}};
}

absl::StatusOr<std::string> RewriteRowKey(std::string_view input) {
  const absl::StatusOr<base::RowId> row = db::RowOfKey(input);
  if (!row.ok()) return row.status();
  return db::RowKey(9, *row);
}

std::vector<Sample> RowKeys() {
  return {{"key", db::RowKey(9, {0x0102030405060708})}};
}

}  // namespace

std::vector<Target> RecordTargets() {
  return {
      {.name = "collection_record",
       .run = RunCollection,
       .rewrite = kRewriteCollection,
       .samples = Collections},
      {.name = "point_record",
       .run = RunStored<kRewritePoint>,
       .rewrite = kRewritePoint,
       .samples = Points},
      {.name = "row_value", .run = RunStored<kRewriteRow>, .rewrite = kRewriteRow, .samples = Rows},
      {.name = "row_key",
       .run = RunStored<RewriteRowKey>,
       .rewrite = RewriteRowKey,
       .samples = RowKeys},
  };
}

}  // namespace tessera::fuzz
