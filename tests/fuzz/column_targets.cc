#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "base/check.h"
#include "base/point_id.h"
#include "base/status_macros.h"
#include "query/columns/chunk_builder.h"
#include "query/columns/decode_chunk.h"
#include "query/columns/filter_program.h"
#include "query/columns/unit.h"
#include "query/filter/field_record.h"
#include "query/filter/parser.h"
#include "tests/fuzz/stored.h"
#include "tests/fuzz/targets.h"

namespace tessera::fuzz {
namespace {

using query::EncodedChunk;
using query::EncodedUnit;
using query::UnitKind;

std::string RecordOf(std::string_view json) {
  std::string record;
  TESSERA_CHECK(query::EncodeFieldsOfJson(json, &record).ok());
  return record;
}

absl::StatusOr<std::string> RewriteRecord(std::string_view input) {
  std::string out;
  query::FieldRecordReader reader(input);
  std::string_view key;
  std::string_view values;
  while (reader.Next(&key, &values)) {
    std::string kept;
    query::FieldValueReader each(values);
    query::FieldValue value;
    while (each.Next(&value)) query::PutFieldValue(value, &kept);
    query::PathOf(key);
    query::PutFieldEntry(key, kept, &out);
  }
  TESSERA_RETURN_IF_ERROR(query::ValidateRecord(input));
  TESSERA_CHECK(!reader.damaged());
  return out;
}

std::vector<Sample> Records() {
  return {{"scalars", RecordOf(R"({"b":true,"d":0.5,"i":-300,"n":null,"s":"text","":""})")},
          {"lists", RecordOf(R"({"l":[3,1,"x",false,2.5,null,{"lat":1.5,"lon":-2}],"e":[]})")},
          {"nested", RecordOf(R"({"a":{"b":{"c":1},"g":{"lat":1,"lon":2}},"a\u0000":{"":7}})")}};
}

// Every kind of section, and enough rare paths that the rest has a unit.
EncodedChunk MakeChunk() {
  query::ChunkBuilder builder;
  for (uint64_t i = 0; i < 130; ++i) {
    std::string json = absl::StrCat("{\"b\":", i % 3 == 0 ? "true" : "false", ",\"d\":", i % 7,
                                    ".25,\"e\":\"2026-01-", 10 + i % 20, "T00:00:00Z\"");
    if (i % 2 == 0) absl::StrAppend(&json, ",\"g\":{\"lat\":", i % 9, ",\"lon\":-", i % 11, "}");
    if (i % 5 != 0) absl::StrAppend(&json, ",\"i\":", i * i);
    absl::StrAppend(&json, ",\"l\":[", i % 4, ",", i % 9, ",\"t", i % 6, "\",\"u\"],\"m\":");
    absl::StrAppend(&json, i % 4 == 0 ? "null" : i % 4 == 1 ? "1e300" : "\"text\"");
    absl::StrAppend(&json, ",\"x", i % 70, "\":", i, "}");
    std::string id;
    (i % 3 == 0 ? base::PointId(absl::StrCat("point ", i)) : base::PointId(i)).EncodeKey(&id);
    builder.Add(64 + i * 2 - i % 2, id, RecordOf(json));
  }
  return builder.Finish();
}

const EncodedChunk& TheChunk() {
  static const EncodedChunk* const chunk = new EncodedChunk(MakeChunk());
  return *chunk;
}

// Reads the unit in the place of one of its kind in the chunk: of its path, or of any.
void UseUnit(std::string_view unit) {
  const auto parsed = query::ParseUnit(unit);
  if (!parsed.ok()) return CheckedStored(parsed.status()).IgnoreError();
  static const query::FilterProgram* const program = new query::FilterProgram(*query::ParseFilter(
      "b = true OR d >= 1.25 OR e < '2026-01-15T00:00:00Z' OR i IN (1, 4, 16, 25, 900) OR "
      "l CONTAINS ALL (1, 't3') OR m LIKE 'te%' OR x7 > 3 OR NOT EXISTS(i) OR "
      "geo_radius(g, 1.0, -1.0, 100000) OR has_id(7, 'point 9')"));
  const std::vector<std::string>& keys = program->paths();
  const bool known = std::find(keys.begin(), keys.end(), parsed->key) != keys.end();
  const std::string_view place = known ? parsed->key : std::string_view(keys.front());
  const EncodedChunk& chunk = TheChunk();
  query::ChunkUnits parts{.rows = chunk.rows, .blocks = chunk.blocks, .rows_unit = {}};
  std::vector<std::string_view> paths(keys.size());
  std::vector<std::string_view> units;
  for (const EncodedUnit& good : chunk.units) {
    const bool here =
        good.kind == parsed->kind && (good.kind != UnitKind::kPath || good.key == place);
    const std::string_view bytes = here ? unit : std::string_view(good.bytes);
    units.push_back(bytes);
    if (good.kind == UnitKind::kRows) parts.rows_unit = bytes;
    if (good.kind == UnitKind::kIds) parts.ids_unit = bytes;
    if (good.kind == UnitKind::kRest) parts.rest_unit = bytes;
    for (size_t i = 0; good.kind == UnitKind::kPath && i < paths.size(); ++i) {
      if (keys[i] == good.key) paths[i] = bytes;
    }
  }
  parts.paths = paths;
  std::vector<uint64_t> words(chunk.blocks, ~uint64_t{0});
  CheckedStored(query::ForEachValue(parts.rows_unit, unit, words.data(),
                                    [](const query::FieldValue&, uint32_t) {}))
      .IgnoreError();
  CheckedStored(program->Evaluate(parts, words.data())).IgnoreError();
  CheckedStored(query::DecodeChunk(units, [](uint64_t, std::string_view, std::string_view) {
    return absl::OkStatus();
  })).IgnoreError();
}

absl::StatusOr<std::string> RewriteUnit(std::string_view input) {
  TESSERA_RETURN_IF_ERROR(query::ValidateUnit(input));
  TESSERA_ASSIGN_OR_RETURN(const query::UnitView unit, query::ParseUnit(input));
  return query::EncodeUnit(unit.kind, unit.rows, unit.key,
                           {unit.sections.begin(), unit.sections.end()});
}

// Units are read without a look at their checksum once they are known, so as they are too.
absl::Status RunUnit(std::string_view input) {
  UseUnit(input);
  RunStored<RewriteUnit>(ResealedInFront(input)).IgnoreError();
  return RunStored<RewriteUnit>(input);
}

std::vector<Sample> Units() {
  std::vector<Sample> samples;
  for (const EncodedUnit& unit : TheChunk().units) {
    switch (unit.kind) {
      case UnitKind::kRows:
        samples.push_back({"rows", unit.bytes});
        break;
      case UnitKind::kIds:
        samples.push_back({"ids", unit.bytes});
        break;
      case UnitKind::kPath:
        samples.push_back({absl::StrCat("path_", absl::StrJoin(query::PathOf(unit.key), ".")), unit.bytes});
        break;
      case UnitKind::kRest:
        samples.push_back({"rest", unit.bytes});
        break;
    }
  }
  return samples;
}

}  // namespace

std::vector<Target> ColumnTargets() {
  return {{.name = "field_record",
           .run = RunStored<RewriteRecord>,
           .rewrite = RewriteRecord,
           .samples = Records},
          {.name = "column_unit", .run = RunUnit, .rewrite = RewriteUnit, .samples = Units}};
}

}  // namespace tessera::fuzz
