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

// What a Value makes of a text, the walk over the text makes of it, errors included.
TEST(FieldRecord, OfTextIsOfItsValue) {
  const auto nested = [](int depth) {
    return "{\"a\":" + std::string(static_cast<size_t>(depth), '[') +
           std::string(static_cast<size_t>(depth), ']') + "}";
  };
  const std::vector<std::string> texts = {
      R"({"b":1,"a":2})",
      R"({"a":1,"a":"last"})",
      R"({"a":{"y":1,"x":2},"a":{"x":[3]}})",
      R"({"a":1,"c":{"e":1,"d":{"lon":1.5,"lat":-2}},"b":{"lat":1,"lon":2,"lat":91}})",
      R"({"b":{"lat":91,"lon":2,"lat":1}})",
      R"({"l":[3,1,"x",1.0,[2],{"lat":1,"lon":2},{"a":1},null,true,false,1e300,-0.0,0.5]})",
      R"({"a\u0000b":1,"a":{"b":2},"":{"":3}})",
      R"({"a":1,"\u00e9":"\ud83d\ude00","z":"\n"})",
      R"({"a":9223372036854775807,"b":-9223372036854775808})",
      R"({"a":9223372036854775808})",
      R"({"a":18446744073709551615,"a":1})",
      R"({"a":[[{"b":9223372036854775808}]]})",
      R"({"a":1e999})",
      R"({"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":{"i":{"j":1}}}}}}}}}})",
      R"([1,2])",
      R"("text")",
      "3",
      "null",
      "",
      " ",
      "{",
      R"({"a":1}x)",
      "{\"a\":\"\xff\"}",
      nested(63),
      nested(64),
      R"({"long":")" + std::string(20'000, 'x') + R"(","n":1})"};
  for (const std::string& text : texts) {
    std::string record = "before";
    const absl::Status status = EncodeFieldsOfJson(text, &record);
    if (text.empty()) {
      EXPECT_OK(status);
      EXPECT_EQ(record, "before");
      continue;
    }
    const auto value = base::ParseJson(text);
    EXPECT_EQ(status, value.status()) << text;
    EXPECT_EQ(record, "before" + (value.ok() ? RecordOf(*value) : "")) << text;
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
