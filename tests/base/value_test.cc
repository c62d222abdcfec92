#include "base/value.h"

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/files/json_file.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::base {
namespace {

std::string Nested(int depth) {
  return std::string(static_cast<size_t>(depth), '[') +
         std::string(static_cast<size_t>(depth), ']');
}

TEST(Value, KindsAreKeptApart) {
  ASSERT_OK_AND_ASSIGN(const Value value,
                       ParseJson(R"({"n":null,"b":true,"i":1,"d":1.0,"s":"1"})"));
  ASSERT_NE(value.object(), nullptr);
  const Value::Object& object = *value.object();
  EXPECT_TRUE(object.at("n").is_null());
  EXPECT_NE(object.at("b").boolean(), nullptr);
  EXPECT_NE(object.at("i").integer(), nullptr);
  EXPECT_NE(object.at("d").number(), nullptr);
  EXPECT_NE(object.at("s").string(), nullptr);
  EXPECT_EQ(object.at("d").integer(), nullptr);
  EXPECT_NE(object.at("i"), object.at("d"));
  EXPECT_EQ(value.ToJson(), R"({"b":true,"d":1.0,"i":1,"n":null,"s":"1"})");
}

TEST(Value, AwkwardTextsHaveOneCanonicalForm) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {" [ ] ", "[]"},
      {"{}", "{}"},
      {"\t-0\n", "0"},
      {"-0.0", "-0.0"},
      {"1E2", "100.0"},
      {"1e-7", "1e-07"},
      {"0.1", "0.1"},
      {"5e-324", "5e-324"},
      {"1.7976931348623157e308", "1.7976931348623157e+308"},
      {"9007199254740993", "9007199254740993"},
      {"9223372036854775807", "9223372036854775807"},
      {"-9223372036854775808", "-9223372036854775808"},
      {R"("")", R"("")"},
      {R"("\u0041\u00e9\ud83d\ude00")", "\"A\xC3\xA9\xF0\x9F\x98\x80\""},
      {R"("\/\b\f\n\r\t\"\\")", R"("/\u0008\u000c\n\r\t\"\\")"},
      {R"("\u0000\u001f\u007f")", "\"\\u0000\\u001f\x7F\""},
      {R"({"b":1,"a":2,"b":3})", R"({"a":2,"b":3})"},
      {R"({"":{"":[]}})", R"({"":{"":[]}})"},
      {R"([1,[2,[3,{"x":null}]]])", R"([1,[2,[3,{"x":null}]]])"},
  };
  for (const auto& [text, want] : cases) {
    ASSERT_OK_AND_ASSIGN(const Value value, ParseJson(text));
    EXPECT_EQ(value.ToJson(), want) << text;
    EXPECT_THAT(ParseJson(want), IsOkAndHolds(value)) << text;
  }
}

TEST(Value, RefusesWhatIsNotOneJsonValue) {
  for (const char* text : {"",
                           " ",
                           "nul",
                           "tru",
                           "True",
                           "[1,]",
                           "[1 2]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{a:1}",
                           "{\"a\":1,}",
                           "[",
                           "]",
                           "{",
                           "\"",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\ud800\"",
                           "01",
                           "+1",
                           "1.",
                           ".5",
                           "1e",
                           "--1",
                           "0x10",
                           "NaN",
                           "Infinity",
                           "1 2",
                           "[] []",
                           "// x\n1",
                           "'a'",
                           "\"\n\"",
                           "\"\t\"",
                           "\"\xFF\"",
                           "\"\xC0\x80\"",
                           "\"\xED\xA0\x80\"",
                           "\xEF\xBB\xBF"}) {
    EXPECT_THAT(ParseJson(text).status(), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
  EXPECT_THAT(ParseJson(std::string_view("1\0", 2)).status(),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(Value, NumbersOutOfRangeAreRefused) {
  for (const char* text : {"9223372036854775808", "18446744073709551615", "18446744073709551616",
                           "-9223372036854775809", "1e309", "-1e400", "[1e999]"}) {
    EXPECT_THAT(ParseJson(text).status(), StatusIs(absl::StatusCode::kInvalidArgument)) << text;
  }
}

TEST(Value, NumbersOverInt64CanBeKeptAsText) {
  std::set<std::string, std::less<>> large = {"old"};
  ASSERT_OK_AND_ASSIGN(
      const Value value,
      ParseJsonKeepingLarge(R"({"a":9223372036854775808,"b":[18446744073709551615],"c":1})",
                            &large));
  EXPECT_EQ(value.ToJson(), R"({"a":"9223372036854775808","b":["18446744073709551615"],"c":1})");
  EXPECT_THAT(large, testing::ElementsAre("a"));
  for (const char* text : {"18446744073709551616", "-9223372036854775809", "1e999", "{"}) {
    EXPECT_THAT(ParseJsonKeepingLarge(text, &large).status(),
                StatusIs(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_THAT(ParseJson("18446744073709551615").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("in quotes")));
}

TEST(Value, DepthIsBounded) {
  ASSERT_OK_AND_ASSIGN(const Value deepest, ParseJson(Nested(kValueDepthMax)));
  EXPECT_EQ(deepest.ToJson(), Nested(kValueDepthMax));
  for (const int depth : {kValueDepthMax + 1, 1000, 1025, 100000}) {
    EXPECT_THAT(ParseJson(Nested(depth)).status(), StatusIs(absl::StatusCode::kInvalidArgument))
        << depth;
  }
  std::string objects = "1";
  for (int i = 0; i < kValueDepthMax; ++i) objects = "{\"k\":" + objects + "}";
  EXPECT_OK(ParseJson(objects).status());
  EXPECT_THAT(ParseJson("[" + objects + "]").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("64")));
}

TEST(Value, EveryTruncationOfADocumentIsRefused) {
  const std::string text = R"({"a":[1,-2.5e3,"x\u00e9\n",true,false,null],"b":{"c":{}}})";
  ASSERT_OK(ParseJson(text).status());
  for (size_t size = 0; size < text.size(); ++size) {
    EXPECT_THAT(ParseJson(text.substr(0, size)).status(),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << size;
  }
}

TEST(Value, DoublesReadBackBitForBit) {
  std::mt19937_64 rng(TestSeed());
  for (int i = 0; i < 20000; ++i) {
    const double number = std::bit_cast<double>(rng());
    if (!std::isfinite(number)) continue;
    ASSERT_OK_AND_ASSIGN(const Value value, ParseJson(Value(number).ToJson()));
    ASSERT_NE(value.number(), nullptr) << Value(number).ToJson();
    ASSERT_EQ(std::bit_cast<uint64_t>(*value.number()), std::bit_cast<uint64_t>(number));
  }
  for (const double whole : {0.0, 1.0, -3.0, 1e15, 1e16, 1e22, 123456789012345678.0}) {
    ASSERT_OK_AND_ASSIGN(const Value value, ParseJson(Value(whole).ToJson()));
    ASSERT_NE(value.number(), nullptr) << "a whole double must stay a double";
    EXPECT_EQ(*value.number(), whole);
  }
}

TEST(Value, WhatJsonCannotSayBecomesNullOrAReplacementCharacter) {
  EXPECT_EQ(Value(std::numeric_limits<double>::quiet_NaN()).ToJson(), "null");
  EXPECT_EQ(Value(-std::numeric_limits<double>::infinity()).ToJson(), "null");
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(Value(std::string("a\xFF")).ToJson(), "\"a" + mark + "\"");
  EXPECT_EQ(Value(std::string("\xE2\x82")).ToJson(), "\"" + mark + mark + "\"");
  EXPECT_EQ(Value(std::string("\xF4\x90\x80\x80")).ToJson(),
            "\"" + mark + mark + mark + mark + "\"");
}

// A random value whose strings are valid UTF-8.
Value RandomValue(std::mt19937_64& rng, int depth) {
  const auto text = [&rng] {
    static const std::vector<std::string> pieces = {"a",
                                                    "\"",
                                                    "\\",
                                                    "\n",
                                                    std::string(1, '\0'),
                                                    "\xC3\xA9",
                                                    "\xE2\x82\xAC",
                                                    "\xF0\x9F\x98\x80",
                                                    "\x7F",
                                                    "/",
                                                    "\x1B"};
    std::string out;
    for (uint64_t i = rng() % 8; i > 0; --i) out += pieces[rng() % pieces.size()];
    return out;
  };
  switch (rng() % (depth > 0 ? 7 : 5)) {
    case 0:
      return Value();
    case 1:
      return Value(rng() % 2 == 0);
    case 2:
      return Value(static_cast<int64_t>(rng()) >> (rng() % 64));
    case 3:
      return Value(std::ldexp(static_cast<double>(rng()), static_cast<int>(rng() % 200) - 100));
    case 4:
      return Value(text());
    case 5: {
      Value::List list;
      for (uint64_t i = rng() % 5; i > 0; --i) list.push_back(RandomValue(rng, depth - 1));
      return Value(std::move(list));
    }
    default: {
      Value::Object object;
      for (uint64_t i = rng() % 5; i > 0; --i) {
        object.insert_or_assign(text(), RandomValue(rng, depth - 1));
      }
      return Value(std::move(object));
    }
  }
}

TEST(Value, RandomValuesRoundTrip) {
  std::mt19937_64 rng(TestSeed());
  for (int i = 0; i < 2000; ++i) {
    const Value value = RandomValue(rng, 5);
    const std::string json = value.ToJson();
    ASSERT_OK_AND_ASSIGN(const Value back, ParseJson(json));
    ASSERT_EQ(back, value) << json;
    ASSERT_EQ(back.ToJson(), json);
  }
}

TEST(Value, LargeTextsRoundTrip) {
  Value::List list;
  for (int64_t i = 0; i < 50000; ++i) list.emplace_back(i);
  const Value value(std::move(list));
  EXPECT_THAT(ParseJson(value.ToJson()), IsOkAndHolds(value));
  EXPECT_THAT(ParseJson("1"), IsOkAndHolds(Value(int64_t{1})));
}

TEST(Value, CanonicalTextIsWhatParsingAndPrintingGives) {
  for (const char* text :
       {"null", "true", "-7", "1.0", "1e300", "\"a\\u00e9\\n\"", "[]", "{}", "[[],[[1]],{}]",
        " { \"b\" : [ 1 , 2.50 , null ] , \"a\" : { \"z\" : \"[\" , \"y\" : \"{\" } } ",
        R"({"a":1,"b":2,"a":{"c":3}})", R"({"":[{}],"\u0000":1})"}) {
    EXPECT_EQ(CanonicalJson(text).value(), ParseJson(text).value().ToJson()) << text;
  }
  std::string deep = "1";
  for (int i = 0; i < kValueDepthMax; ++i) deep = "[" + deep + "]";
  EXPECT_EQ(CanonicalJson(deep).value(), deep);
  for (const std::string& text :
       {std::string(""), std::string("{"), std::string("[1]2"), "[" + deep + "]",
        std::string("18446744073709551615"), std::string("\"\xFF\""),
        R"({"a":)" + ("[" + deep + "]") + R"(,"a":1})"}) {
    EXPECT_EQ(CanonicalJson(text).status(), ParseJson(text).status()) << text;
  }
}

}  // namespace
}  // namespace tessera::base
