#include "query/filter/field_record.h"

#include <limits>
#include <string>

#include "gtest/gtest.h"

#include "query/filter/evaluate.h"
#include "query/filter/parser.h"
#include "query/filter/record_filter.h"
#include "tests/query/filter/oracle.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::query {
namespace {

using base::Value;

std::string RecordOf(const Value& payload) {
  std::string record;
  EncodeFields(payload, &record);
  return record;
}

TEST(FieldRecord, AnswersLikeThePayload) {
  FilterOracle oracle(TestSeed());
  for (int i = 0; i < 1000; ++i) {
    const OracleFilter drawn = oracle.Draw(i % 5);
    ASSERT_OK_AND_ASSIGN(const Filter filter, ParseFilter(drawn.text));
    const RecordFilter ready(filter);
    for (int j = 0; j < 40; ++j) {
      const base::PointId id = oracle.DrawId();
      const Value payload = oracle.DrawPayload();
      const std::string record = RecordOf(payload);
      ASSERT_OK(ValidateRecord(record));
      ASSERT_EQ(ready.Matches(id, record), drawn.holds(id, payload))
          << drawn.text << "\n" << payload.ToJson();
      std::string again;
      ASSERT_OK(EncodeFieldsOfJson(payload.ToJson(), &again));
      ASSERT_EQ(again, record) << payload.ToJson();
    }
  }
}

TEST(FieldRecord, PathKeysAreUnambiguousAndKeepTheOrder) {
  const std::string nul(1, '\0');
  const std::vector<FieldPath> paths = {{""},           {"", ""},      {nul},
                                        {nul, "a"},     {"a"},         {"a", ""},
                                        {"a", "b"},     {"a", "b", "c"}, {"a", "b.c"},
                                        {"a" + nul},    {"a" + nul + "\1"}, {"a.b"},
                                        {"ab"}};
  std::string last;
  for (size_t i = 0; i < paths.size(); ++i) {
    const std::string key = PathKey(paths[i]);
    EXPECT_EQ(PathOf(key), paths[i]);
    if (i > 0) { EXPECT_LT(last, key) << i; }
    last = key;
  }
}

TEST(FieldRecord, LongStringsAndNanAreNoValuesButThere) {
  const Value payload(Value::Object{
      {"long", Value(std::string(257, 'x'))},
      {"most", Value(std::string(256, 'x'))},
      {"nan", Value(std::numeric_limits<double>::quiet_NaN())}});
  const auto holds = [&](const std::string& text) {
    const auto filter = ParseFilter(text);
    EXPECT_OK(filter);
    const bool of_record = MatchesRecord(*filter, base::PointId(uint64_t{1}), RecordOf(payload));
    EXPECT_EQ(of_record, Matches(*filter, base::PointId(uint64_t{1}), payload)) << text;
    return of_record;
  };
  EXPECT_TRUE(holds("EXISTS(long)"));
  EXPECT_FALSE(holds("long LIKE 'x%'"));
  EXPECT_FALSE(holds("long >= 'a'"));
  EXPECT_FALSE(holds("long = '" + std::string(257, 'x') + "'"));
  EXPECT_TRUE(holds("most LIKE 'x%'"));
  EXPECT_TRUE(holds("EXISTS(nan)"));
  EXPECT_FALSE(holds("nan >= 0 OR nan < 0"));
}

TEST(FieldRecord, DamageIsToldAndNeverReadPast) {
  FilterOracle oracle(TestSeed());
  for (int i = 0; i < 200; ++i) {
    const std::string record = RecordOf(oracle.DrawPayload());
    for (size_t n = 0; n < record.size(); ++n) {
      const std::string cut = record.substr(0, n);
      ValidateRecord(cut).IgnoreError();
      std::string flipped = record;
      flipped[n] = static_cast<char>(flipped[n] ^ (1 << (i % 8)));
      ValidateRecord(flipped).IgnoreError();
    }
  }
  EXPECT_EQ(ValidateRecord("\x7f").code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace tessera::query
