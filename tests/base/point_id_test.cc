#include "base/point_id.h"

#include <algorithm>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "gtest/gtest.h"

#include "base/string_id.h"
#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::base {
namespace {

constexpr std::string_view kUuidText = "6f1c0a2b-3d4e-5f60-8192-a3b4c5d6e7f8";

std::vector<PointId> AwkwardIds() {
  std::mt19937_64 rng(TestSeed());
  std::vector<PointId> ids = {
      PointId(),
      PointId(uint64_t{1}),
      PointId(uint64_t{255}),
      PointId(uint64_t{256}),
      PointId(std::numeric_limits<uint64_t>::max()),
      PointId(Uuid{}),
      PointId(std::string("a")),
      PointId(std::string("a\0b", 3)),
      PointId(std::string("\xFF")),
      PointId(std::string(kPointIdStringBytesMax, 'z')),
  };
  for (int i = 0; i < 50; ++i) {
    ids.emplace_back(rng() >> (rng() % 64));
    Uuid uuid;
    for (uint8_t& byte : uuid.bytes) byte = static_cast<uint8_t>(rng());
    ids.emplace_back(uuid);
    std::string text(1 + rng() % 20, ' ');
    for (char& c : text) c = static_cast<char>(rng());
    ids.emplace_back(text);
  }
  return ids;
}

TEST(PointId, KeysRoundTripAndSortLikeIds) {
  const std::vector<PointId> ids = AwkwardIds();
  for (const PointId& a : ids) {
    std::string key_a;
    a.EncodeKey(&key_a);
    EXPECT_THAT(PointId::DecodeKey(key_a), IsOkAndHolds(a));
    for (const PointId& b : ids) {
      std::string key_b;
      b.EncodeKey(&key_b);
      EXPECT_EQ(a < b, key_a < key_b) << a.ToString() << " and " << b.ToString();
      EXPECT_EQ(a == b, key_a == key_b);
    }
  }
}

TEST(PointId, KeyBytesArePinned) {
  std::string key = "prefix";
  PointId(uint64_t{0x0102}).EncodeKey(&key);
  EXPECT_EQ(key, std::string("prefix\x01\0\0\0\0\0\0\x01\x02", 15));
  key.clear();
  PointId(std::string("doc")).EncodeKey(&key);
  EXPECT_EQ(key,
            "\x03"
            "doc");
  key.clear();
  ASSERT_OK_AND_ASSIGN(const PointId uuid, PointId::Parse(kUuidText));
  uuid.EncodeKey(&key);
  EXPECT_EQ(key, "\x02\x6f\x1c\x0a\x2b\x3d\x4e\x5f\x60\x81\x92\xa3\xb4\xc5\xd6\xe7\xf8");
}

TEST(PointId, DamagedKeysAreDataLoss) {
  std::vector<std::string> damaged = {"", std::string(1, '\0'), "\x03",
                                      "\x04"
                                      "abc",
                                      "\xFF"};
  const auto key_of = [](char kind, size_t size) {
    std::string key(1 + size, 'x');
    key[0] = kind;
    return key;
  };
  damaged.push_back(key_of(3, kPointIdStringBytesMax + 1));
  for (size_t size = 0; size < 20; ++size) {
    if (size != 8) damaged.push_back(key_of(1, size));
    if (size != 16) damaged.push_back(key_of(2, size));
  }
  for (const std::string& key : damaged) {
    EXPECT_THAT(PointId::DecodeKey(key).status(), StatusIs(absl::StatusCode::kDataLoss));
  }
}

TEST(PointId, ParsesEachKind) {
  ASSERT_OK_AND_ASSIGN(const PointId number, PointId::Parse("18446744073709551615"));
  ASSERT_NE(number.number(), nullptr);
  EXPECT_EQ(*number.number(), std::numeric_limits<uint64_t>::max());
  ASSERT_OK_AND_ASSIGN(const PointId uuid, PointId::Parse("6F1C0A2B-3d4e-5f60-8192-a3b4c5d6e7f8"));
  ASSERT_NE(uuid.uuid(), nullptr);
  EXPECT_EQ(uuid.ToString(), kUuidText);
  EXPECT_THAT(PointId::Parse("0"), IsOkAndHolds(PointId(uint64_t{0})));
}

TEST(PointId, WhatIsNotQuiteANumberOrUuidIsAString) {
  for (const char* text :
       {"007", "00", "18446744073709551616", "-1", "+1", "1.0", " 1", "1 ", "abc",
        "6f1c0a2b-3d4e-5f60-8192-a3b4c5d6e7fg", "6f1c0a2b3d4e5f608192a3b4c5d6e7f8",
        "6f1c0a2b-3d4e-5f60-8192-a3b4c5d6e7f80", "6f1c0a2b-3d4e-5f60-81920a3b4c5d6e7f8"}) {
    ASSERT_OK_AND_ASSIGN(const PointId id, PointId::Parse(text));
    ASSERT_NE(id.string(), nullptr) << text;
    EXPECT_EQ(id.ToString(), text);
  }
}

TEST(PointId, AStringIdDoesNotReadAsAnotherKind) {
  EXPECT_THAT(StringId("007"), IsOkAndHolds(PointId(std::string("007"))));
  EXPECT_THAT(StringId("7").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("send it as num")));
  EXPECT_THAT(StringId(kUuidText).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("send it as uuid")));
  EXPECT_THAT(StringId("").status(), StatusIs(absl::StatusCode::kInvalidArgument));
  for (const char* text : {"\xff", "\xc3", "a\xed\xa0\x80"}) {
    EXPECT_THAT(PointId::Parse(text).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("UTF-8")));
  }
}

TEST(PointId, EveryTextFormReadsBack) {
  std::mt19937_64 rng(TestSeed());
  for (int i = 0; i < 200; ++i) {
    const PointId number(rng() >> (rng() % 64));
    EXPECT_THAT(PointId::Parse(number.ToString()), IsOkAndHolds(number));
  }
}

TEST(PointId, LengthIsBounded) {
  EXPECT_THAT(PointId::Parse("").status(), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_OK(PointId::Parse(std::string(kPointIdStringBytesMax, 'x')).status());
  EXPECT_THAT(PointId::Parse(std::string(kPointIdStringBytesMax + 1, 'x')).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("513")));
}

TEST(PointId, HashesTellIdsApart) {
  absl::flat_hash_set<PointId> set;
  const std::vector<PointId> ids = AwkwardIds();
  for (const PointId& id : ids) set.insert(id);
  for (const PointId& id : ids) EXPECT_TRUE(set.contains(id));
  EXPECT_FALSE(set.contains(PointId(std::string("never inserted"))));
}

}  // namespace
}  // namespace tessera::base
