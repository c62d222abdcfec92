#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "query/columns/chunk_builder.h"
#include "query/columns/decode_chunk.h"
#include "query/columns/filter_program.h"
#include "query/filter/evaluate.h"
#include "query/filter/field_record.h"
#include "query/filter/normalize.h"
#include "query/filter/parser.h"
#include "tests/query/filter/oracle.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::query {
namespace {

using base::Value;

struct Row {
  uint64_t position = 0;
  base::PointId id;
  Value payload;
  std::string id_key = {};
  std::string record = {};
};

std::vector<Row> MakeRows(FilterOracle* oracle, std::mt19937_64* rng, size_t count,
                          uint64_t gap, size_t extra_paths) {
  std::vector<Row> rows;
  uint64_t position = (*rng)() % 100'000;
  for (size_t i = 0; i < count; ++i, position += 1 + (*rng)() % gap) {
    Row row{.position = position, .id = oracle->DrawId(), .payload = oracle->DrawPayload()};
    if ((*rng)() % 5 == 0) row.id = base::PointId(std::string{'p', static_cast<char>('0' + (*rng)() % 9)});
    for (size_t j = 0; j < extra_paths && row.payload.object() != nullptr; ++j) {
      const std::string name = absl::StrCat("extra", (*rng)() % 400);
      row.payload.object()->insert_or_assign(name, Value(static_cast<int64_t>((*rng)() % 3)));
    }
    row.id.EncodeKey(&row.id_key);
    EncodeFields(row.payload, &row.record);
    rows.push_back(std::move(row));
  }
  return rows;
}

EncodedChunk Build(const std::vector<Row>& rows) {
  ChunkBuilder builder;
  for (const Row& row : rows) builder.Add(row.position, row.id_key, row.record);
  return builder.Finish();
}

std::vector<uint64_t> Evaluate(const EncodedChunk& chunk, const Filter& filter) {
  const FilterProgram program(filter);
  std::vector<std::string_view> paths(program.paths().size());
  ChunkUnits units{.rows = chunk.rows, .blocks = chunk.blocks, .rows_unit = {}};
  for (const EncodedUnit& unit : chunk.units) {
    EXPECT_OK(ValidateUnit(unit.bytes));
    if (unit.kind == UnitKind::kRows) units.rows_unit = unit.bytes;
    if (unit.kind == UnitKind::kIds && program.wants_ids()) units.ids_unit = unit.bytes;
    if (unit.kind == UnitKind::kRest) units.rest_unit = unit.bytes;
    for (size_t i = 0; i < paths.size(); ++i) {
      if (unit.kind == UnitKind::kPath && unit.key == program.paths()[i]) paths[i] = unit.bytes;
    }
  }
  units.paths = paths;
  std::vector<uint64_t> words(chunk.blocks);
  EXPECT_OK(program.Evaluate(units, words.data()));
  return words;
}

void ExpectLikeMatches(const EncodedChunk& chunk, const std::vector<Row>& rows,
                       const Filter& filter) {
  const std::vector<uint64_t> words = Evaluate(chunk, filter);
  std::vector<uint64_t> expected(chunk.blocks);
  for (const Row& row : rows) {
    if (Matches(filter, row.id, row.payload)) {
      expected[row.position / 64 - chunk.first_block] |= uint64_t{1} << (row.position % 64);
    }
  }
  ASSERT_EQ(words, expected) << ToString(filter);
}

struct Shape {
  size_t rows;
  uint64_t gap;
  size_t extra_paths;
};

TEST(Columns, AnswerLikeThePayloadsAndGiveThemBack) {
  FilterOracle oracle(TestSeed());
  std::mt19937_64 rng(TestSeed());
  for (const Shape shape : {Shape{1, 1, 0}, Shape{63, 1, 0}, Shape{64, 3, 2}, Shape{300, 1, 0},
                            Shape{500, 200, 1}, Shape{1000, 2, 5}, Shape{4096, 1, 0}}) {
    for (int i = 0; i < 4; ++i) {
      const std::vector<Row> rows =
          MakeRows(&oracle, &rng, shape.rows, shape.gap, shape.extra_paths);
      const EncodedChunk chunk = Build(rows);
      for (int j = 0; j < 60; ++j) {
        const OracleFilter drawn = oracle.Draw(j % 4);
        ASSERT_OK_AND_ASSIGN(const Filter filter, ParseFilter(drawn.text));
        ASSERT_NO_FATAL_FAILURE(ExpectLikeMatches(chunk, rows, filter));
        ASSERT_NO_FATAL_FAILURE(ExpectLikeMatches(chunk, rows, Normalize(filter)));
      }
      for (const char* text : {"extra7 = 1", "extra3 IN (0, 2) OR a = 1", "NOT EXISTS(extra9)",
                               "has_id('p1', 3)", "a IN (-1, 0.5, 1, 2, 3, 'a', 'b', 'bb', true)"}) {
        ASSERT_OK_AND_ASSIGN(const Filter filter, ParseFilter(text));
        ASSERT_NO_FATAL_FAILURE(ExpectLikeMatches(chunk, rows, filter));
      }
      std::vector<std::string_view> units;
      for (const EncodedUnit& unit : chunk.units) units.push_back(unit.bytes);
      size_t at = 0;
      ASSERT_OK(DecodeChunk(units, [&](uint64_t position, std::string_view id_key,
                                       std::string_view record) {
        EXPECT_EQ(position, rows[at].position);
        EXPECT_EQ(id_key, rows[at].id_key);
        EXPECT_EQ(record, rows[at].record) << rows[at].payload.ToJson();
        ++at;
        return absl::OkStatus();
      }));
      EXPECT_EQ(at, rows.size());
    }
  }
}

TEST(Columns, NumbersAtTheirBoundsCompareExactly) {
  const double doubles[] = {0.1, 0.30000000000000004, -0.0, 1e300, -1e300, 0x1p53, 0x1p63, 2.5};
  const int64_t ints[] = {0, -1, 9007199254740993, INT64_MAX, INT64_MIN, 3};
  for (const size_t take : {size_t{1}, size_t{8}}) {
    std::vector<Row> rows;
    for (size_t i = 0; i < 200; ++i) {
      Row row{.position = i, .id = base::PointId(uint64_t{i}), .payload = {}};
      Value value = i % 2 == 0 ? Value(doubles[i / 2 % take])
                               : Value(take == 1 ? static_cast<int64_t>(i % 5) : ints[i / 2 % 6]);
      row.payload = Value(Value::Object{{"x", std::move(value)}});
      row.id.EncodeKey(&row.id_key);
      EncodeFields(row.payload, &row.record);
      rows.push_back(std::move(row));
    }
    const EncodedChunk chunk = Build(rows);
    std::vector<Constant> constants;
    for (const double number : doubles) constants.emplace_back(number);
    for (const int64_t number : ints) constants.emplace_back(number);
    for (const Constant& constant : constants) {
      for (const bool inclusive : {false, true}) {
        const Bound bound{constant, inclusive};
        ASSERT_NO_FATAL_FAILURE(
            ExpectLikeMatches(chunk, rows, Filter{Range{{"x"}, bound, std::nullopt}}));
        ASSERT_NO_FATAL_FAILURE(
            ExpectLikeMatches(chunk, rows, Filter{Range{{"x"}, std::nullopt, bound}}));
      }
      ASSERT_NO_FATAL_FAILURE(ExpectLikeMatches(chunk, rows, Filter{In{{"x"}, {constant}}}));
    }
    ASSERT_NO_FATAL_FAILURE(
        ExpectLikeMatches(chunk, rows, Filter{In{{"x"}, Canonical(constants)}}));
  }
}

TEST(Columns, ValuesAreCountedOncePerRow) {
  ChunkBuilder builder;
  const char* const payloads[] = {R"({"t":["a","b","a"]})", R"({"t":"b"})", R"({"t":2.0})",
                                  R"({"t":[2,"c"]})", "{}"};
  uint64_t position = 130;
  for (const char* payload : payloads) {
    std::string record;
    ASSERT_OK(EncodeFieldsOfJson(payload, &record));
    std::string id_key;
    base::PointId(position).EncodeKey(&id_key);
    builder.Add(position, id_key, record);
    position += 70;
  }
  const EncodedChunk chunk = builder.Finish();
  std::vector<uint64_t> words(chunk.blocks, ~uint64_t{0});
  std::string counts;
  const auto count = [&] {
    counts.clear();
    return ForEachValue(chunk.units[0].bytes, chunk.units[2].bytes, words.data(),
                        [&](const FieldValue& value, uint32_t rows) {
                          if (value.kind == FieldKind::kInt) absl::StrAppend(&counts, value.integer);
                          absl::StrAppend(&counts, std::string(value.text), ":", rows, " ");
                        });
  };
  ASSERT_OK(count());
  EXPECT_EQ(counts, "2:2 a:1 b:2 c:1 ");
  words[0] = 0;
  ASSERT_OK(count());
  EXPECT_EQ(counts, "2:2 b:1 c:1 ");
}

TEST(Columns, DamageIsToldOrHarmless) {
  FilterOracle oracle(TestSeed());
  std::mt19937_64 rng(TestSeed());
  const EncodedChunk chunk = Build(MakeRows(&oracle, &rng, 200, 2, 3));
  for (size_t u = 0; u < chunk.units.size(); ++u) {
    const std::string& good = chunk.units[u].bytes;
    for (int i = 0; i < 300; ++i) {
      EncodedChunk bad = chunk;
      std::string& bytes = bad.units[u].bytes;
      if (i % 3 == 0) {
        bytes.resize(rng() % good.size());
      } else {
        bytes[rng() % std::min(bytes.size(), size_t{i % 2 == 0 ? 256 : good.size()})] ^=
            static_cast<char>(1 << (rng() % 8));
      }
      EXPECT_FALSE(ValidateUnit(bytes).ok());
      // As if the checksum had been right.
      const FilterProgram program(*ParseFilter("a = 1 OR b LIKE 'a%' OR has_id(3) OR extra1 = 2"));
      std::vector<std::string_view> units;
      ChunkUnits parts{.rows = chunk.rows, .blocks = chunk.blocks, .rows_unit = {}};
      std::vector<std::string_view> paths(program.paths().size());
      for (const EncodedUnit& unit : bad.units) {
        units.push_back(unit.bytes);
        if (unit.kind == UnitKind::kRows) parts.rows_unit = unit.bytes;
        if (unit.kind == UnitKind::kIds) parts.ids_unit = unit.bytes;
        if (unit.kind == UnitKind::kRest) parts.rest_unit = unit.bytes;
        if (unit.kind == UnitKind::kPath) paths[rng() % paths.size()] = unit.bytes;
      }
      parts.paths = paths;
      std::vector<uint64_t> words(chunk.blocks);
      program.Evaluate(parts, words.data()).IgnoreError();
      DecodeChunk(units, [](uint64_t, std::string_view, std::string_view) {
        return absl::OkStatus();
      }).IgnoreError();
    }
  }
}

}  // namespace
}  // namespace tessera::query
