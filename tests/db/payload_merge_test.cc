#include "db/payload_merge.h"

#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "tests/support/status_matchers.h"

namespace tessera::db {
namespace {

base::Value Parsed(const std::string& text) {
  return base::ParseJson(text).value();
}

// What a merge means, on values.
std::string Expected(const std::string& stored, const base::Value& changes) {
  base::Value::Object merged;
  if (!stored.empty()) merged = *Parsed(stored).object();
  for (const auto& [key, value] : *changes.object()) {
    if (value.is_null()) {
      merged.erase(key);
    } else {
      merged.insert_or_assign(key, value);
    }
  }
  return base::Value(std::move(merged)).ToJson();
}

TEST(PayloadMerge, IsThatOfValues) {
  for (const char* const stored :
       {"", "{}", R"({"a":1})", R"({"a":{"b":[1,2,{"c":"}]"}]},"b":"x,\"y","z":[]})",
        R"({"":null,"\"":1,"\\":2,"a\nb":3,"ä":4,"€":5})"}) {
    for (const char* const changes :
         {"{}", R"({"a":null})", R"({"a":2,"b":{"k":[]}})", R"({"\"":null,"\\":7,"zz":0})",
          R"({"":1,"a\nb":null,"ä":"ö","€":[null]})", R"({"\u0001":1,"b":null})"}) {
      const base::Value parsed = Parsed(changes);
      ASSERT_OK_AND_ASSIGN(const std::string merged, PayloadMerger(parsed).Merge(stored));
      EXPECT_EQ(merged, Expected(stored, parsed)) << stored << " + " << changes;
    }
  }
}

TEST(PayloadMerge, OfManyKeysIsThatOfValues) {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same in every run
  const auto object = [&](bool nulls) {
    base::Value::Object members;
    for (uint64_t i = random() % 20; i > 0; --i) {
      const std::string key = absl::StrCat(random() % 3 == 0 ? "\"" : "", random() % 30);
      members[key] =
          nulls && random() % 3 == 0 ? base::Value() : base::Value(absl::StrCat("{\\,", random()));
    }
    return base::Value(std::move(members));
  };
  for (int round = 0; round < 1000; ++round) {
    const std::string stored = object(false).ToJson();
    const base::Value changes = object(true);
    ASSERT_OK_AND_ASSIGN(const std::string merged, PayloadMerger(changes).Merge(stored));
    EXPECT_EQ(merged, Expected(stored, changes)) << stored << " + " << changes.ToJson();
  }
}

TEST(PayloadMerge, OfDamagedTextIsDataLoss) {
  const PayloadMerger merger(Parsed(R"({"a":1})"));
  const std::string whole = R"({"a":{"b":[1,"x\"y"]},"c":"d"})";
  for (size_t bytes = 1; bytes < whole.size(); ++bytes) {
    EXPECT_EQ(merger.Merge(whole.substr(0, bytes)).status().code(), absl::StatusCode::kDataLoss)
        << whole.substr(0, bytes);
  }
  for (const char* const text : {"null", "[]", "{a:1}", R"({"a"})", R"({"a":})", R"({"a":1}x)",
                                 R"({"a":1,})", R"({"a\x":1})"}) {
    EXPECT_EQ(merger.Merge(text).status().code(), absl::StatusCode::kDataLoss) << text;
  }
}

}  // namespace
}  // namespace tessera::db
