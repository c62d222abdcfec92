#include "api/formats/payload_reader.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "api/formats/line_reader.h"
#include "api/formats/payload_formats.h"
#include "tests/api/files.h"

namespace tessera::api {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// "line: JSON" for a good row, "line! message" for a bad one.
absl::StatusOr<std::vector<std::string>> ReadRows(const std::string& path) {
  absl::StatusOr<std::unique_ptr<PayloadReader>> reader = OpenPayloadFile(path, std::nullopt);
  if (!reader.ok()) return reader.status();
  std::vector<std::string> rows;
  PayloadRow row;
  for (;;) {
    const absl::StatusOr<bool> more = (*reader)->Next(&row);
    if (!more.ok()) return more.status();
    if (!*more) return rows;
    rows.push_back(row.status.ok()
                       ? absl::StrCat(row.line, ": ", row.payload.ToJson())
                       : absl::StrCat(row.line, "! ", std::string(row.status.message())));
  }
}

std::vector<std::string> MustReadRows(std::string_view name, std::string_view text) {
  const InputDir dir;
  const auto rows = ReadRows(dir.Write(name, text));
  EXPECT_TRUE(rows.ok()) << rows.status();
  return rows.ok() ? *rows : std::vector<std::string>();
}

absl::Status ReadError(std::string_view name, std::string_view text) {
  const InputDir dir;
  return ReadRows(dir.Write(name, text)).status();
}

TEST(CsvReader, HeaderGivesKeysAndCellsTheirTypes) {
  EXPECT_THAT(MustReadRows("a.csv", "n,x,s,e\n1,0.5,word,\n-2,1e3,two words,\n"),
              ElementsAre(R"(2: {"e":null,"n":1,"s":"word","x":0.5})",
                          R"(3: {"e":null,"n":-2,"s":"two words","x":1000.0})"));
}

TEST(CsvReader, QuotedCellsAreStringsWithCommasQuotesAndLineEnds) {
  EXPECT_THAT(MustReadRows("a.csv", "a,b\r\n\"1\",\"x,\"\"y\"\"\"\r\n\"\",\"two\nlines\"\r\n3,4"),
              ElementsAre(R"(2: {"a":"1","b":"x,\"y\""})", R"(3: {"a":"","b":"two\nlines"})",
                          R"(5: {"a":3,"b":4})"));
}

TEST(CsvReader, BadRowsCarryTheirLineAndDoNotEndTheFile) {
  EXPECT_THAT(MustReadRows("a.csv", "a,b\n1\n1,2,3\n\"x\"y,1\n\xff,1\n5,6\n"),
              ElementsAre(HasSubstr("2! has 1 cells, the header row has 2"), HasSubstr("3! has 3"),
                          HasSubstr("4! cell 1 goes on"), HasSubstr("5! cell 1 is not UTF-8"),
                          R"(6: {"a":5,"b":6})"));
}

TEST(CsvReader, ImpossibleFilesAreInvalidArgument) {
  for (const std::string_view text : {"", "a,a\n", "a,,b\n", "a,b\n1,\"never closed\n2,3\n4,5\n"}) {
    const absl::Status status = ReadError("a.csv", text);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr("a.csv"));
  }
  EXPECT_THAT(std::string(ReadError("a.csv", "a,b\n1,2\n3,\"x\n").message()), HasSubstr("line 3"));
}

TEST(CsvReader, AByteOrderMarkIsNoPartOfTheFirstKey) {
  EXPECT_THAT(MustReadRows("a.csv",
                           "\xEF\xBB\xBF"
                           "a\n1\n"),
              ElementsAre(R"(2: {"a":1})"));
}

TEST(CsvReader, AnEmptyLineIsNamedAmongRowsAndSkippedBehindThem) {
  EXPECT_THAT(MustReadRows("a.csv", "a,b\n1,2\n\n3,4\r\n\r\n\n"),
              ElementsAre(R"(2: {"a":1,"b":2})", "3! the line is empty", R"(4: {"a":3,"b":4})"));
  EXPECT_THAT(MustReadRows("a.csv", "a\n1\n\n3\n\n"),
              ElementsAre(R"(2: {"a":1})", R"(3: {"a":null})", R"(4: {"a":3})"));
  EXPECT_THAT(MustReadRows("a.csv", "a,b\n\"x\n\n\ny\",1\n\n"),
              ElementsAre(R"(2: {"a":"x\n\n\ny","b":1})"));
}

TEST(CsvReader, CellsOfARecordAreBounded) {
  const std::string commas(200'000, ',');
  EXPECT_THAT(MustReadRows("a.csv", "a\n" + commas + "\n1\n"),
              ElementsAre("2! has more than 100000 cells", R"(3: {"a":1})"));
}

TEST(CsvReader, InfersOnlyWhatKeepsTheText) {
  const auto json = [](std::string_view cell) { return InferCsvValue(cell).ToJson(); };
  EXPECT_EQ(json("9223372036854775807"), "9223372036854775807");
  EXPECT_EQ(json("-9223372036854775808"), "-9223372036854775808");
  EXPECT_EQ(json("9223372036854775808"), "\"9223372036854775808\"");
  EXPECT_EQ(json("0"), "0");
  EXPECT_EQ(json("007"), "\"007\"");
  EXPECT_EQ(json("0.25"), "0.25");
  EXPECT_EQ(json(".5"), "0.5");
  EXPECT_EQ(json("-"), "\"-\"");
  EXPECT_EQ(json("1e999"), "\"1e999\"");
  EXPECT_EQ(json("nan"), "\"nan\"");
  EXPECT_EQ(json("inf"), "\"inf\"");
  EXPECT_EQ(json("0x10"), "\"0x10\"");
  EXPECT_EQ(json("1 "), "\"1 \"");
  EXPECT_EQ(json("true"), "\"true\"");
}

TEST(JsonlReader, ObjectsAndNullArePayloadsTheRestIsReported) {
  EXPECT_THAT(MustReadRows("a.jsonl", "{\"b\":[1,2.5,null],\"a\":\"x\"}\nnull\n[1]\n{bad\n\n{}"),
              ElementsAre(R"(1: {"a":"x","b":[1,2.5,null]})", "2: null",
                          HasSubstr("3! a payload must be a JSON object"), HasSubstr("4! "),
                          "5! the line is empty", "6: {}"));
}

TEST(JsonlReader, NumbersBeyondInt64AreTextAndSaidToBeNumbers) {
  const InputDir dir;
  const auto reader = OpenPayloadFile(
      dir.Write(
          "a.jsonl",
          R"({"id":18446744073709551615,"s":"9223372036854775808","o":{"n":9223372036854775808}})"
          "\n"
          R"({"id":9223372036854775808,"id":"7"})"
          "\n"),
      std::nullopt);
  ASSERT_TRUE(reader.ok()) << reader.status();
  PayloadRow row;
  ASSERT_TRUE(*(*reader)->Next(&row));
  EXPECT_EQ(row.payload.ToJson(), R"({"id":"18446744073709551615","o":{"n":"9223372036854775808"},)"
                                  R"("s":"9223372036854775808"})");
  EXPECT_THAT(row.large_keys, ElementsAre("id"));
  ASSERT_TRUE(*(*reader)->Next(&row));
  EXPECT_EQ(row.payload.ToJson(), R"({"id":"7"})");
  EXPECT_TRUE(row.large_keys.empty());
}

TEST(JsonlReader, ALineOfMillionsOfValuesIsNotParsed) {
  std::string line = "{\"a\":[1";
  for (int i = 0; i < 1'600'000; ++i) line += ",1";
  EXPECT_THAT(MustReadRows("a.jsonl", line + "]}\n{}\n"),
              ElementsAre(HasSubstr("1! has over 1500000 commas"), "2: {}"));
}

TEST(JsonlReader, AByteOrderMarkAndEmptyLinesBehindTheLastRowAreSkipped) {
  EXPECT_THAT(MustReadRows("a.jsonl", "\xEF\xBB\xBF{\"a\":1}\r\n{\"a\":2}\r\n\r\n\n"),
              ElementsAre(R"(1: {"a":1})", R"(2: {"a":2})"));
  EXPECT_THAT(MustReadRows("a.jsonl", "\n\n{}\n"),
              ElementsAre("1! the line is empty", "2! the line is empty", "3: {}"));
  EXPECT_TRUE(MustReadRows("a.jsonl", "\n\n\n").empty());
}

TEST(PayloadReader, FilesOfAnotherKindAreNamed) {
  EXPECT_THAT(std::string(ReadError("a.jsonl", "PAR1\x15\x04").message()),
              AllOf(HasSubstr("a.jsonl: is a Parquet file"), HasSubstr("pyarrow")));
  EXPECT_THAT(
      std::string(
          ReadError("a.csv", std::string("\xFF\xFE", 2) + std::string("a\0,\0b\0", 6)).message()),
      HasSubstr("UTF-16"));
  EXPECT_THAT(std::string(ReadError("a.jsonl", "[\n {\"a\": 1}\n]\n").message()),
              HasSubstr("jq -c '.[]'"));
}

TEST(JsonlReader, GzipIsToldByItsMagicNotByTheName) {
  EXPECT_THAT(MustReadRows("a.jsonl", Gzip("{\"a\":1}\n{\"a\":2}\n")),
              ElementsAre(R"(1: {"a":1})", R"(2: {"a":2})"));
  const std::string packed = Gzip("{\"a\":1}\n");
  for (size_t size = 2; size < packed.size(); ++size) {
    EXPECT_EQ(ReadError("a.jsonl.gz", packed.substr(0, size)).code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(LineReader, ALineOverTheLimitIsInvalidArgumentNamingIt) {
  const absl::Status status =
      ReadError("a.jsonl", "{}\n\"" + std::string(kLineBytesMax, 'x') + "\"\n");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("line 2"));
}

TEST(LineReader, FindsLinesAcrossReadSteps) {
  std::string text;
  for (int i = 0; i < 40'000; ++i) absl::StrAppend(&text, "{\"i\":", i, "}\n");
  const std::vector<std::string> rows = MustReadRows("a.jsonl", text);
  ASSERT_EQ(rows.size(), 40'000U);
  for (size_t i = 0; i < rows.size(); ++i) {
    ASSERT_EQ(rows[i], absl::StrCat(i + 1, ": {\"i\":", i, "}"));
  }
}

TEST(PayloadReader, NamesTellTheFormat) {
  EXPECT_EQ(*DetectPayloadFormat("payload.csv.gz"), PayloadFormat::kCsv);
  EXPECT_EQ(*DetectPayloadFormat("payload.jsonl"), PayloadFormat::kJsonl);
  EXPECT_FALSE(DetectPayloadFormat("payload.tsv").ok());
}

}  // namespace
}  // namespace tessera::api
