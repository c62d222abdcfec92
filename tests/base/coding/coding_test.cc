#include "base/coding/coding.h"

#include <array>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/support/seed.h"
#include "tests/support/status_matchers.h"

namespace tessera::base {
namespace {

constexpr std::array<uint64_t, 13> kAwkward = {0,
                                               1,
                                               0x7F,
                                               0x80,
                                               0x3FFF,
                                               0x4000,
                                               0xFFFFFFFF,
                                               0x100000000,
                                               0x7FFFFFFFFFFF,
                                               uint64_t{1} << 56,
                                               uint64_t{1} << 63,
                                               std::numeric_limits<uint64_t>::max() - 1,
                                               std::numeric_limits<uint64_t>::max()};

TEST(Coding, BytesArePinned) {
  std::string out;
  PutU8(&out, 0x01);
  PutU16(&out, 0x0302);
  PutU32(&out, 0x07060504);
  PutU64(&out, 0x0F0E0D0C0B0A0908);
  PutF32(&out, 1.0F);
  PutVarint64(&out, 300);
  PutBytes(&out, "ab");
  PutBigEndian32(&out, 0x01020304);
  PutBigEndian64(&out, 0x0102030405060708);
  const std::string want(
      "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C\x0D\x0E\x0F"
      "\x00\x00\x80\x3F\xAC\x02\x02"
      "ab\x01\x02\x03\x04\x01\x02\x03\x04\x05\x06\x07\x08",
      36);
  EXPECT_EQ(out, want);
}

TEST(Coding, DecoderReadsBackWhatWasPut) {
  std::string out;
  PutU8(&out, 200);
  PutU16(&out, 60000);
  PutU32(&out, 4'000'000'000U);
  PutU64(&out, std::numeric_limits<uint64_t>::max());
  PutF32(&out, -0.1F);
  PutBytes(&out, "");
  PutBytes(&out, std::string(200, 'x'));
  out += "raw";

  Decoder decoder(out);
  uint8_t u8 = 0;
  uint16_t u16 = 0;
  uint32_t u32 = 0;
  uint64_t u64 = 0;
  float f32 = 0;
  std::string_view empty = "not yet";
  std::string_view bytes;
  std::string_view raw;
  ASSERT_OK(decoder.U8(&u8));
  ASSERT_OK(decoder.U16(&u16));
  ASSERT_OK(decoder.U32(&u32));
  ASSERT_OK(decoder.U64(&u64));
  ASSERT_OK(decoder.F32(&f32));
  ASSERT_OK(decoder.Bytes(&empty));
  ASSERT_OK(decoder.Bytes(&bytes));
  EXPECT_EQ(decoder.remaining(), 3U);
  EXPECT_THAT(decoder.ExpectEnd(), StatusIs(absl::StatusCode::kDataLoss));
  ASSERT_OK(decoder.Raw(3, &raw));
  EXPECT_OK(decoder.ExpectEnd());
  EXPECT_EQ(u8, 200);
  EXPECT_EQ(u16, 60000);
  EXPECT_EQ(u32, 4'000'000'000U);
  EXPECT_EQ(u64, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(f32, -0.1F);
  EXPECT_EQ(empty, "");
  EXPECT_EQ(bytes, std::string(200, 'x'));
  EXPECT_EQ(raw, "raw");
}

TEST(Coding, VarintsOfEveryLengthRoundTrip) {
  for (const uint64_t value : kAwkward) {
    std::string out;
    PutVarint64(&out, value);
    uint64_t got = ~value;
    Decoder decoder(out);
    ASSERT_OK(decoder.Varint64(&got));
    EXPECT_EQ(got, value);
    EXPECT_OK(decoder.ExpectEnd());
    for (size_t size = 0; size < out.size(); ++size) {
      Decoder truncated(std::string_view(out).substr(0, size));
      EXPECT_THAT(truncated.Varint64(&got), StatusIs(absl::StatusCode::kDataLoss));
      EXPECT_EQ(truncated.remaining(), size) << "a failed read must not move";
    }
  }
}

TEST(Coding, IllFormedVarintsAreDataLoss) {
  const std::vector<std::string> ill_formed = {
      std::string("\x80\x00", 2),                     // longer than needed
      std::string(9, '\xFF') + '\x02',                // 65 bits
      std::string(10, '\xFF'),                        // never ends
      std::string(9, '\x80') + std::string(1, '\0'),  // zero in ten bytes
      std::string(11, '\x80'),
  };
  for (const std::string& bytes : ill_formed) {
    uint64_t value = 7;
    Decoder decoder(bytes);
    EXPECT_THAT(decoder.Varint64(&value), StatusIs(absl::StatusCode::kDataLoss));
    EXPECT_EQ(value, 7U);
  }
}

TEST(Coding, EveryTruncationIsDataLoss) {
  std::string out;
  PutU64(&out, 1);
  PutBytes(&out, "0123456789");
  for (size_t size = 0; size < out.size(); ++size) {
    Decoder decoder(std::string_view(out).substr(0, size));
    uint64_t number = 0;
    std::string_view bytes = "untouched";
    absl::Status status = decoder.U64(&number);
    if (status.ok()) status = decoder.Bytes(&bytes);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss)) << size;
    EXPECT_EQ(bytes, "untouched");
  }
}

TEST(Coding, ALengthBeyondTheEndIsDataLoss) {
  std::string out;
  PutVarint64(&out, std::numeric_limits<uint64_t>::max());
  out += "abc";
  std::string_view bytes;
  EXPECT_THAT(Decoder(out).Bytes(&bytes),
              StatusIs(absl::StatusCode::kDataLoss, testing::HasSubstr("3 are left")));
}

TEST(Coding, BigEndianKeysSortLikeTheirNumbers) {
  std::mt19937_64 rng(TestSeed());
  std::vector<uint64_t> numbers(kAwkward.begin(), kAwkward.end());
  for (int i = 0; i < 200; ++i) numbers.push_back(rng() >> (rng() % 64));
  for (const uint64_t a : numbers) {
    std::string key_a;
    PutBigEndian64(&key_a, a);
    EXPECT_EQ(DecodeBigEndian64(key_a), a);
    EXPECT_EQ(DecodeBigEndian64(key_a + "more"), a);
    for (const uint64_t b : numbers) {
      std::string key_b;
      PutBigEndian64(&key_b, b);
      EXPECT_EQ(a < b, key_a < key_b);
    }
  }
  std::string key;
  PutBigEndian32(&key, 0x80000001);
  EXPECT_EQ(DecodeBigEndian32(key), 0x80000001U);
}

TEST(Coding, StoresAndLoadsAtAnyAlignment) {
  std::array<std::byte, 16> bytes{};
  for (size_t at = 0; at < 8; ++at) {
    StoreU64(&bytes[at], 0x1122334455667788);
    EXPECT_EQ(LoadU64(&bytes[at]), 0x1122334455667788U);
    EXPECT_EQ(LoadU32(&bytes[at]), 0x55667788U);
    EXPECT_EQ(LoadU16(&bytes[at]), 0x7788U);
    StoreU32(&bytes[at], 0xCAFEBABE);
    EXPECT_EQ(LoadU64(&bytes[at]), 0x11223344CAFEBABEU);
    StoreU16(&bytes[at], 0xFFFF);
    EXPECT_EQ(LoadU32(&bytes[at]), 0xCAFEFFFFU);
    StoreF32(&bytes[at], -2.5F);
    EXPECT_EQ(LoadF32(&bytes[at]), -2.5F);
  }
}

}  // namespace
}  // namespace tessera::base
