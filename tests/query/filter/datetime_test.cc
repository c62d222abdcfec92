#include "query/filter/datetime.h"

#include "gtest/gtest.h"

namespace tessera::query {
namespace {

TEST(Datetime, ReadsWhatRfc3339Allows) {
  constexpr int64_t kSecond = 1'000'000;
  EXPECT_EQ(ParseDatetime("1970-01-01T00:00:00Z")->micros, 0);
  EXPECT_EQ(ParseDatetime("1970-01-01")->micros, 0);
  EXPECT_EQ(ParseDatetime("1970-01-01t00:00:01z")->micros, kSecond);
  EXPECT_EQ(ParseDatetime("1970-01-01 00:00:01.5")->micros, kSecond * 3 / 2);
  EXPECT_EQ(ParseDatetime("1970-01-01T01:00:00+01:00")->micros, 0);
  EXPECT_EQ(ParseDatetime("1969-12-31T23:00:00-01:00")->micros, 0);
  EXPECT_EQ(ParseDatetime("2024-02-29T12:00:00.123456789Z")->micros, 1709208000123456);
  EXPECT_EQ(ParseDatetime("2016-12-31T23:59:60Z"), ParseDatetime("2017-01-01T00:00:00Z"));
}

TEST(Datetime, RefusesWhatIsNone) {
  for (const char* text :
       {"", "yesterday", "2024-13-45", "2023-02-29", "2024-1-1", "2024-01-01T", "2024-01-01T00:00",
        "2024-01-01T24:00:00Z", "2024-01-01T00:00:00+1", "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00.1234567890Z", "2024-01-01T00:00:00Zx", "0000-01-01", "20240101",
        "2024-01-01T00:60:00Z", " 2024-01-01"}) {
    EXPECT_FALSE(ParseDatetime(text).has_value()) << text;
  }
}

TEST(Datetime, PrintsWhatReadsBack) {
  for (const char* text : {"2024-01-31T12:34:56.789Z", "0001-01-01T00:00:00Z",
                           "1969-12-31T23:59:59.999999Z", "9999-12-31T23:59:59Z"}) {
    EXPECT_EQ(FormatDatetime(*ParseDatetime(text)), text);
  }
}

}  // namespace
}  // namespace tessera::query
