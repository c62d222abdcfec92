// What filter columns cost: records of payloads, chunks of records, filters over chunks.
//
// Prints, for rows of ten fields: microseconds to make a record of a payload's text (and by way of a
// Value), nanoseconds to put a row's field into a chunk, nanoseconds for a filter on 64 rows. Every
// figure is the least of some passes over all rows, one thread.
#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/check.h"
#include "base/point_id.h"
#include "base/value.h"
#include "query/columns/chunk_builder.h"
#include "query/columns/filter_program.h"
#include "query/filter/field_record.h"
#include "query/filter/normalize.h"
#include "query/filter/parser.h"

namespace tessera::bench {
namespace {

using base::Value;
using query::EncodedChunk;

constexpr int kPasses = 7;
constexpr int kFilterPasses = 500;
constexpr size_t kFields = 10;

template <typename Run>
double LeastNanos(int passes, const Run& run) {
  double least = 1e30;
  for (int pass = 0; pass < passes; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    least = std::min(least, took.count());
  }
  return least;
}

std::vector<std::string> Payloads(size_t rows) {
  std::mt19937_64 random(7);
  const auto below = [&](uint64_t n) { return static_cast<int64_t>(random() % n); };
  std::vector<std::string> texts;
  for (size_t i = 0; i < rows; ++i) {
    Value::Object row;
    row["bool"] = Value(below(2) == 0);
    row["cell"] = Value(below(64));
    row["day"] = Value(absl::StrCat("2026-", 10 + below(3), "-", 10 + below(18), "T12:00:00Z"));
    row["kind"] = Value(absl::StrCat("kind ", below(12)));
    row["name"] = Value(absl::StrCat("name of ", below(100'000)));
    row["price"] = Value(static_cast<double>(below(100'000)) / 100);
    row["rank"] = Value(below(1'000'000));
    if (below(10) == 0) row["rare"] = Value(below(1000));
    row["tags"] = Value(Value::List{Value(absl::StrCat("t", below(20))),
                                    Value(absl::StrCat("t", below(20)))});
    row["u"] = Value(static_cast<double>(random() >> 11) * 0x1p-53);
    texts.push_back(Value(std::move(row)).ToJson());
  }
  return texts;
}

std::vector<EncodedChunk> Build(const std::vector<std::string>& records) {
  std::vector<EncodedChunk> chunks;
  query::ChunkBuilder builder;
  std::string id;
  for (size_t i = 0; i < records.size(); ++i) {
    // 57 of 64 slots have rows, as lists leave them.
    const uint64_t position = i / 57 * 64 + i % 57;
    if (!builder.Takes(position)) chunks.push_back(builder.Finish());
    id.clear();
    base::PointId(uint64_t{i}).EncodeKey(&id);
    builder.Add(position, id, records[i]);
  }
  chunks.push_back(builder.Finish());
  return chunks;
}

void Evaluate(const std::vector<EncodedChunk>& chunks, std::string_view text) {
  const auto parsed = query::ParseFilter(text);
  TESSERA_CHECK(parsed.ok());
  const query::FilterProgram program(query::Normalize(*parsed));
  struct Ready {
    query::ChunkUnits units;
    std::vector<std::string_view> paths;
  };
  std::vector<Ready> ready(chunks.size());
  size_t blocks = 0;
  for (size_t i = 0; i < chunks.size(); ++i) {
    ready[i].paths.resize(program.paths().size());
    ready[i].units.rows = chunks[i].rows;
    ready[i].units.blocks = chunks[i].blocks;
    blocks += chunks[i].blocks;
    for (const query::EncodedUnit& unit : chunks[i].units) {
      if (unit.kind == query::UnitKind::kRows) ready[i].units.rows_unit = unit.bytes;
      for (size_t path = 0; unit.kind == query::UnitKind::kPath && path < ready[i].paths.size();
           ++path) {
        if (unit.key == program.paths()[path]) ready[i].paths[path] = unit.bytes;
      }
    }
    ready[i].units.paths = ready[i].paths;
  }
  std::vector<uint64_t> words(blocks);
  const double nanos = LeastNanos(kFilterPasses, [&] {
    uint64_t* out = words.data();
    for (const Ready& chunk : ready) {
      TESSERA_CHECK(program.Evaluate(chunk.units, out).ok());
      out += chunk.units.blocks;
    }
  });
  uint64_t matches = 0;
  for (const uint64_t word : words) matches += static_cast<uint64_t>(std::popcount(word));
  std::printf("%7.1f ns a block  %8llu rows  %.*s\n", nanos / static_cast<double>(blocks),
              static_cast<unsigned long long>(matches), static_cast<int>(text.size()), text.data());
}

void Run(size_t rows) {
  const std::vector<std::string> texts = Payloads(rows);
  std::vector<std::string> records(rows);
  const auto count = static_cast<double>(rows);
  const double by_value = LeastNanos(kPasses, [&] {
    std::string record;
    for (const std::string& text : texts) {
      record.clear();
      query::EncodeFields(*base::ParseJson(text), &record);
    }
  });
  const double in_place = LeastNanos(kPasses, [&] {
    for (size_t i = 0; i < rows; ++i) {
      records[i].clear();
      TESSERA_CHECK(query::EncodeFieldsOfJson(texts[i], &records[i]).ok());
    }
  });
  std::printf("record of a text: %.2f us, by way of a Value: %.2f us\n", in_place / count / 1000,
              by_value / count / 1000);
  std::vector<EncodedChunk> chunks;
  const double build = LeastNanos(kPasses, [&] { chunks = Build(records); });
  std::printf("row and field into a chunk: %.0f ns\n", build / count / kFields);
  for (const std::string_view filter :
       {"EXISTS(bool)", "bool = true", "cell = 17", "cell >= 32", "rare < 100", "rank < 100000",
        "rank >= 200000 AND rank < 700000", "price < 500", "u < 0.5", "u >= 0.25 AND u < 0.75",
        "kind = 'kind 3'", "name LIKE 'name of 1%'", "tags = 't3'", "day >= '2026-11-01T00:00:00Z'",
        "cell IN (1, 2, 3, 9, 10, 17, 18, 40, 50, 60)", "cell = 17 AND price < 500",
        "cell = 17 OR NOT price < 500"}) {
    Evaluate(chunks, filter);
  }
}

}  // namespace
}  // namespace tessera::bench

int main(int argc, char** argv) {
  tessera::bench::Run(argc > 1 ? static_cast<size_t>(std::atol(argv[1])) : 100'000);
  return 0;
}
