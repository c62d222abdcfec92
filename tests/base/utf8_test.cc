#include "base/utf8.h"

#include <string>

#include "gtest/gtest.h"

namespace tessera::base {
namespace {

TEST(Utf8, WholeTexts) {
  for (const char* text : {"", "plain", "gr\xC3\xBC\xC3\x9F", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
  }
  for (const char* text : {"\xFF", "\xC3", "\xE2\x82", "\xED\xA0\x80", "\xC0\xAF", "\x80", "a\xF5"}) {
    EXPECT_FALSE(IsUtf8(text));
  }
}

TEST(Utf8, CutAnywhereTheAnswerIsTheSame) {
  const std::string good = "a\xC3\xBC\xE2\x82\xAC\xF0\x9F\x98\x80z";
  for (const std::string& text :
       {good, good + "\xC3", good + "\xF0\x9F\x98", "\xC3\x28" + good, good + "\xED\xA0\x80",
        "\xE2\x28\xA1" + good, "\x80" + good}) {
    for (size_t first = 0; first <= text.size(); ++first) {
      for (size_t second = first; second <= text.size(); ++second) {
        Utf8Checker checker;
        checker.Add(std::string_view(text).substr(0, first));
        checker.Add(std::string_view(text).substr(first, second - first));
        checker.Add(std::string_view(text).substr(second));
        EXPECT_EQ(checker.Finish(), IsUtf8(text)) << "cut at " << first << " and " << second;
      }
    }
  }
}

}  // namespace
}  // namespace tessera::base
